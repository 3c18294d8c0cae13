"""Networks as LiteRT files: written, cut, joined and converted."""
