"""The verification of optimizers against their rules, and of general claims where there is no rule."""
