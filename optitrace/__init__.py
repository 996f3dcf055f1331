"""Trace, explain, verify and compare torch optimizers, step by step."""

from optitrace.api import Explanation, Trace, Verification, explain, trace, verify
from optitrace.errors import OptitraceError
from optitrace.version import __version__

__all__ = [
    "Explanation",
    "OptitraceError",
    "Trace",
    "Verification",
    "__version__",
    "explain",
    "trace",
    "verify",
]
