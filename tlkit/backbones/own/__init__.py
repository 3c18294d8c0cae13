"""A backbone of the user's own, from a ``.keras`` file."""
