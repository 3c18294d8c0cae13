"""``tlkit.train``: from a folder of images to a bundle."""
