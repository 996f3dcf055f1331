"""The formats in which a sweep can be written."""

SWEEP_FORMATS = ("table", "json", "jsonl", "csv", "tsv")
"""Their names."""
