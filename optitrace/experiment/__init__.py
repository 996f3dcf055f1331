"""What is run: objectives, and the frozen settings of one run. Building one imports no torch."""
