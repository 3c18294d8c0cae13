"""Pre-trained networks: catalogue, weights, stages, features."""
