"""Weights: where they come from, and how they are matched to a network's variables."""
