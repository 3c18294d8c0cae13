"""A bundle as a web page and an HTTP API."""
