"""Analysis of a training: its faults, and agreement of its steps with the rule and of its ranks."""
