"""How an experiment is run and recorded. Only `tracer` steps a torch optimizer."""
