"""``tlkit.recommend``: what to do with a dataset, why, and what accuracy to expect."""
