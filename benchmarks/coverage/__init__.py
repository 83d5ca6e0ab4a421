"""How often the intervals hold the truth and how often the tests reject where there is nothing to find."""
