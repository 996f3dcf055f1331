"""optitrace from Python: the same runs as from a shell, as values. One of the two front doors, beside cli."""
