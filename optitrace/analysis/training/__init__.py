"""What is learned from a training: its faults, whether its steps follow the rule, whether its ranks agree."""
