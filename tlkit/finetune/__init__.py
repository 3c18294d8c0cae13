"""Trains a network's weights: the loop, one step of it, and all it needs."""
