"""Write, cut, join and convert networks in LiteRT's file format."""
