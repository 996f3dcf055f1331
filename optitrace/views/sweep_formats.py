"""The formats in which a sweep can be written."""

from optitrace.views.formats import STILLS

SWEEP_FORMATS = ("table", "json", "jsonl", "csv", "tsv", *STILLS)
"""Their names. A sweep has no steps to be drawn one after the other."""
