"""Evaluate a classifier: metrics, figures by class, example images, Grad-CAM."""
