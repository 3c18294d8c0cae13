"""The user's own backbone, from a ``.keras`` file."""
