"""The Python interface: the same runs as from a shell, as values."""
