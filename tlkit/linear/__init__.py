"""What is solved on frozen features: heads, probes, folds, calibration, out-of-distribution statistics, label issues."""
