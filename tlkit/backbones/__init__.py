"""Pre-trained networks: catalogue, weights, stages and features."""
