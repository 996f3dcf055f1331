"""Sweeps of optimizers without a rule: the class itself, configuration by configuration, by joblib."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.sweeping.blocks import Block
from optitrace.analysis.sweeping.measures import Goal, Observer
from optitrace.analysis.sweeping.space import Column, Space, columns, configurations
from optitrace.errors import UsageError, one_of
from optitrace.experiment.experiment import Experiment
from optitrace.records.trace import TraceRecord
from optitrace.tracing.devices import one_thread
from optitrace.tracing.tracer import trace

BACKENDS: Mapping[str, str] = {"loky": "joblib", "dask": "distributed", "ray": "ray"}
"""Where the classes can be stepped: on this machine's cores or on a cluster; and the package it needs."""

TASK = 16
"""The number of configurations in a task."""

TASKS = 4
"""Tasks for each core between two looks at whether to stop."""

Measured = tuple[list[float], dict[str, float]]
"""The last weights of a configuration, and its measures."""


def check_backend(name: str) -> str:
    """Return a backend of joblib that can be loaded.

    Raises:
        UsageError: there is none of that name, or what it needs is not installed.
    """
    one_of("backend", name, BACKENDS)
    for package, extra in (("joblib", "sweep"), (BACKENDS[name], name)):
        if not _is_installed(package):
            raise UsageError(
                f"optimizers without a rule are run by {package}, which is not installed; "
                f"pip install 'optitrace[{extra}]' installs it."
            )
    return name


def blocks_by_class(
    space: Space,
    goal: Goal,
    *,
    threads: int | None = None,
    backend: str = "loky",
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Block]:
    """Yield every configuration of a space, in the order of their numbers, each a run of the real class.

    Args:
        space: what is swept.
        goal: what to measure.
        threads: how many processes; one for each core if not given.
        backend: a key of `BACKENDS`.
        stop: called between blocks; once it returns true, no further block is yielded.

    Raises:
        UsageError: the backend is not installed, or torch refuses a setting.
    """
    check_backend(backend)
    from joblib import Parallel

    with _on(backend), Parallel(n_jobs=threads or -1) as parallel:
        size = TASK * TASKS * parallel._effective_n_jobs()
        for first in range(0, space.size, size):
            if stop():
                return
            found = columns(space, first, min(size, space.size - first))
            done = _run_on(parallel, space, goal, found)
            yield Block(
                first,
                found,
                torch.tensor([weights for weights, _ in done], dtype=torch.float64),
                {name: torch.tensor([m[name] for _, m in done], dtype=torch.float64) for name in done[0][1]},
            )


def steps_by_class(
    space: Space, goal: Goal, found: Sequence[Column], *, threads: int | None, backend: str
) -> Tensor:
    """Return the steps of some configurations to within the tolerance, each a run of the real class."""
    from joblib import Parallel

    with _on(backend), Parallel(n_jobs=threads or -1) as parallel:
        done = _run_on(parallel, space, goal, found)
    return torch.tensor([measures["steps"] for _, measures in done], dtype=torch.float64)


def _run_on(parallel: Any, space: Space, goal: Goal, found: Sequence[Column]) -> list[Measured]:
    """Run some configurations, given their values on each axis, on the workers of joblib."""
    from joblib import delayed

    experiments = [_portable(space.experiment(c)) for c in configurations(space, found)]
    tasks = [experiments[k : k + TASK] for k in range(0, len(experiments), TASK)]
    folder = Path.cwd()
    done = parallel(delayed(run_all)(task, goal, folder) for task in tasks)
    return [measured for task in done for measured in task]


def run_all(experiments: list[Experiment], goal: Goal, folder: Path) -> list[Measured]:
    """Trace experiments one after the other and return what a sweep keeps of each.

    Args:
        experiments: what to trace.
        goal: what to measure.
        folder: where relative paths begin: a worker that is used again may be elsewhere. A machine that has
            no such folder stays where it is.
    """
    with suppress(OSError):
        os.chdir(folder)
    with one_thread():
        return [
            measured(trace(experiment, every=_kept(goal, experiment)), goal) for experiment in experiments
        ]


def measured(traced: TraceRecord, goal: Goal) -> Measured:
    """Return the last weights of a trace and its measures, as `Observer` takes them from each step."""
    experiment = traced.experiment
    loss = experiment.objective.loss(getattr(torch, experiment.dtype), torch.device("cpu"))
    points = torch.tensor(traced.weights.values, dtype=getattr(torch, experiment.dtype))
    rows = points.reshape(len(traced.steps), 1, -1)
    observer = Observer(goal, experiment.objective.minima, lambda w: loss(w[0])[None], rows[0])
    for step, (before, after) in zip(traced.steps[1:], pairwise(rows), strict=True):
        observer.after_step(step, before, after)
    measures = observer.measures(rows[-1])
    return rows[-1, 0].tolist(), {name: float(measure) for name, measure in measures.items()}


def _kept(goal: Goal, experiment: Experiment) -> int:
    """Return the number of steps from one kept step to the next."""
    return 1 if goal.rank in ("steps", "path") else max(1, experiment.steps)


def _portable(experiment: Experiment) -> Experiment:
    """Return an experiment that can be sent to another process."""
    return replace(experiment, hyperparameters=dict(experiment.hyperparameters))


def _is_installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def _on(backend: str) -> AbstractContextManager[Any]:
    """Return a context in which joblib uses a backend; a cluster that is named in the environment is used.

    dask reads DASK_SCHEDULER_ADDRESS and ray RAY_ADDRESS; without, either starts on this machine.
    """
    import joblib

    if backend == "dask":
        from contextlib import ExitStack

        from distributed import Client, get_client

        stack = ExitStack()
        try:
            get_client()
        except ValueError:
            stack.enter_context(Client())
        stack.enter_context(joblib.parallel_config(backend="dask"))
        return stack
    if backend == "ray":
        from ray.util.joblib import register_ray

        register_ray()
    context: AbstractContextManager[Any] = joblib.parallel_config(backend=backend)
    return context
