"""The formats in which a sweep can be written."""

from optitrace.views.formats import STILLS

ROW_FORMATS = ("json", "jsonl", "csv", "tsv")
"""Those with a row for every configuration."""

SWEEP_FORMATS = ("table", *ROW_FORMATS, "markdown", *STILLS)
"""All their names. A sweep has no steps to be drawn one after the other."""
