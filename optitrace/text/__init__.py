"""Text: how numbers and signs are written."""
