"""The formats in which a sweep can be written."""

SWEEP_FORMATS = ("table", "json", "jsonl", "csv", "tsv", "markdown")
"""Their names."""

ROW_FORMATS = ("json", "jsonl", "csv", "tsv")
"""Those with a row for every configuration."""
