"""How well probabilities fit, and temperatures that make them fit better."""
