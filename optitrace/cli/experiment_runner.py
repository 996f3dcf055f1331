"""Running experiments for a command: the device, the progress, and Ctrl-C."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, redirect_stdout

from optitrace.cli.interruption import Interruption
from optitrace.cli.progress import Progress
from optitrace.cli.torch_loading import load_torch
from optitrace.experiment.experiment import Experiment
from optitrace.records.trace import Trace


def resolve_device(name: str) -> str:
    """Return the device that a name means: what is there, for ``auto``."""
    if name != "auto":
        return name
    load_torch()
    from optitrace.tracing.devices import choose_device

    return choose_device()


def run_experiment(experiment: Experiment, interruption: Interruption, *, every: int = 1) -> Trace:
    """Run an experiment; an interruption ends it where it is."""
    load_torch()
    from optitrace.tracing.tracer import trace

    with Progress(experiment.steps, interruption) as progress, apart_from_stdout():
        return trace(experiment, every=every, stop=progress)


def apart_from_stdout() -> AbstractContextManager[object]:
    """Send to standard error what a person's own code prints: standard output is for data alone."""
    return redirect_stdout(sys.stderr)
