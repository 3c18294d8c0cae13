"""``tlkit.recommend``: recommend a strategy for a dataset, with reasons and predicted accuracy."""
