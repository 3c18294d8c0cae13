"""``tlkit.embed``: one vector for each image."""
