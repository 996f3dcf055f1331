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
    from optitrace.rules.rule import Rule, StateEntry, rule
    from optitrace.tracing.reference_optimizer import optimizer

__all__ = [
    "Comparison",
    "Diff",
    "Explanation",
    "OptitraceError",
    "Rule",
    "StateEntry",
    "Sweep",
    "Trace",
    "Training",
    "Verification",
    "__version__",
    "compare",
    "diff",
    "explain",
    "optimizer",
    "read",
    "rule",
    "sweep",
    "trace",
    "verify",
    "watch",
]

_HOMES = {
    "python.comparing": ("Comparison", "Diff", "compare", "diff"),
    "python.sweeping": ("Sweep", "sweep"),
    "python.traces": ("Explanation", "Trace", "explain", "read", "trace"),
    "python.training": ("Training", "watch"),
    "python.verifying": ("Verification", "verify"),
    "rules.rule": ("Rule", "StateEntry", "rule"),
    "tracing.reference_optimizer": ("optimizer",),
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that the command line loads none of them."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"optitrace.{module}"), name)
    raise AttributeError(f"module 'optitrace' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
