"""What the commands do, as functions: each takes plain values and returns a typed result."""
