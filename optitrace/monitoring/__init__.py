"""Monitoring: the optimizers of a running program, observed through torch's hooks while it trains."""
