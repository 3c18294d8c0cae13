"""Self-contained HTML pages: no network, readable on a phone, light and dark."""
