"""The .tlkit folder: save, load, verify, run."""
