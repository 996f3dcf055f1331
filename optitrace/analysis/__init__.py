"""What is learned from traces."""
