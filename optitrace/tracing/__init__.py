"""Running and recording experiments. Only `tracer` steps a torch optimizer."""
