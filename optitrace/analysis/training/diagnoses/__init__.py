"""The faults that a training can have, one function each, told from what was recorded of it alone."""

from __future__ import annotations

from optitrace.analysis.training.diagnoses.diagnose import diagnose, unjudged

__all__ = ["diagnose", "unjudged"]
