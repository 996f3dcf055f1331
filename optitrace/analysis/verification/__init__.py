"""The proof that an optimizer does what its rule says, and what can be checked where there is no rule."""
