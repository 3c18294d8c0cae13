"""Train a network's weights: the loop, its steps, inputs and state."""
