"""Trace, explain, verify and compare torch optimizers, step by step."""

from optitrace.api import Trace, trace
from optitrace.errors import OptitraceError
from optitrace.version import __version__

__all__ = ["OptitraceError", "Trace", "__version__", "trace"]
