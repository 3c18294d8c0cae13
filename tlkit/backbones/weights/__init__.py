"""Load weights, and match them to a network's variables."""
