"""Everything computed on frozen features: heads, probes, folds, calibration, OOD statistics, label issues."""
