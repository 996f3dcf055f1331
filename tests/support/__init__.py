"""What several tests share: samples, ways to run commands and scripts, and optimizers with faults."""
