"""Watching: the optimizers of a program that is not ours, seen through torch's hooks while it trains."""
