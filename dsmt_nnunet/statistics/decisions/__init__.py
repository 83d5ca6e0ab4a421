"""Thresholds, what decisions at them are worth, and their comparison."""
