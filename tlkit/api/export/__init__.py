"""``tlkit.export``: a bundle in the formats of other runtimes, each checked against ``predict``."""
