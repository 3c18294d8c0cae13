"""Self-contained HTML pages: no network needed, readable on a phone, light and dark."""
