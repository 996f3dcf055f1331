"""Running experiments for a command: torch, the device, the progress, and Ctrl-C."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager, redirect_stdout

from optitrace.cli import terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.progress import Progress
from optitrace.errors import printable
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.user_module import SEPARATOR
from optitrace.records.trace import TraceRecord


def load_torch() -> None:
    """Import torch in a third less time, and set it up for tensors of a few numbers.

    The garbage collector would go through half a million new objects many times and free none of
    them; frozen, they are not gone through at the end of the process either.
    """
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
            import torch
    finally:
        gc.freeze()
        gc.enable()
    torch.set_num_threads(1)


def resolve_device(name: str) -> str:
    """Return the device of a name; ``auto`` is CUDA if available."""
    if name != "auto":
        return name
    load_torch()
    from optitrace.tracing.devices import choose_device

    return choose_device()


def run_experiment(experiment: Experiment, interruption: Interruption, *, every: int = 1) -> TraceRecord:
    """Run an experiment; an interruption ends it where it is."""
    load_torch()
    from optitrace.tracing.tracer import trace

    with Progress(experiment.steps, interruption) as progress, apart_from_stdout():
        return trace(experiment, every=every, stop=progress)


def apart_from_stdout() -> AbstractContextManager[object]:
    """Redirect what user code prints to standard error: standard output is only for data."""
    return redirect_stdout(sys.stderr)


def say_code(names: Iterable[str]) -> None:
    """Report the files or modules that will be run, given the names of classes and functions in them."""
    for place in dict.fromkeys(name.rpartition(SEPARATOR)[0] for name in names):
        terminal.say(f"--rerun runs the code of '{printable(place)}', which the saved trace names.")
