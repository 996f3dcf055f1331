"""Trace, explain, verify and compare torch optimizers, step by step."""

from optitrace.api import Explanation, Trace, Verification, explain, trace, verify
from optitrace.comparing import Comparison, Diff, compare, diff, read
from optitrace.errors import OptitraceError
from optitrace.version import __version__

__all__ = [
    "Comparison",
    "Diff",
    "Explanation",
    "OptitraceError",
    "Trace",
    "Verification",
    "__version__",
    "compare",
    "diff",
    "explain",
    "read",
    "trace",
    "verify",
]
