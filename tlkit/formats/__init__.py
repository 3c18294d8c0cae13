"""One network as files: a Keras archive, and LiteRT."""
