"""Metrics of a classifier."""
