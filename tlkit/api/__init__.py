"""The commands as functions: each takes plain values and returns a typed result."""
