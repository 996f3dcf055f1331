"""Trace, explain, verify and compare torch optimizers, step by step."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from optitrace.errors import OptitraceError
from optitrace.version import __version__

if TYPE_CHECKING:
    from optitrace.python.comparing import Comparison, Diff, compare, diff
    from optitrace.python.sweeping import Sweep, sweep
    from optitrace.python.traces import Explanation, Trace, explain, read, trace
    from optitrace.python.training import Training, watch
    from optitrace.python.verifying import Verification, verify

__all__ = [
    "Comparison",
    "Diff",
    "Explanation",
    "OptitraceError",
    "Sweep",
    "Trace",
    "Training",
    "Verification",
    "__version__",
    "compare",
    "diff",
    "explain",
    "read",
    "sweep",
    "trace",
    "verify",
    "watch",
]

_HOMES = {
    "comparing": ("Comparison", "Diff", "compare", "diff"),
    "sweeping": ("Sweep", "sweep"),
    "traces": ("Explanation", "Trace", "explain", "read", "trace"),
    "training": ("Training", "watch"),
    "verifying": ("Verification", "verify"),
}


def __getattr__(name: str) -> Any:
    """Load what is asked for, and no more: a command line wants none of it."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"optitrace.python.{module}"), name)
    raise AttributeError(f"module 'optitrace' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
