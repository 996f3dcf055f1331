"""Whether the ranks of one training have the same weights: what they tell each other, and what follows."""
