"""What to do with a data set, and why: size, similarity to ImageNet, probes, and a rule that makes them advice."""
