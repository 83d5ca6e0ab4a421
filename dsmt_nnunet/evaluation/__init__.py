"""Predictions and tables in, metrics.json and its companions out; needs no torch."""
