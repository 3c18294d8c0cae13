"""The strategy advisor: dataset size, similarity to ImageNet, probes, and the rule that turns them into advice."""
