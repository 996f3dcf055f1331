"""Trace, explain, verify and compare torch optimizers, step by step."""

from optitrace.api import Explanation, Trace, explain, trace
from optitrace.errors import OptitraceError
from optitrace.version import __version__

__all__ = ["Explanation", "OptitraceError", "Trace", "__version__", "explain", "trace"]
