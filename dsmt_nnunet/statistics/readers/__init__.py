"""Readers beside a model, and several readers of several cases."""
