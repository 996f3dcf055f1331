"""Faults of learning rate schedulers: stepped too early, or never."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.analysis.training.diagnoses.registry import Finding, of_a_training, of_an_optimizer
from optitrace.records.trace import Status
from optitrace.records.training import OptimizerTrace, TrainingRecord
from optitrace.text import counted, listed

HANDFUL = 10
"""The number of steps in which no step of a scheduler need be due."""


@of_an_optimizer("scheduler before optimizer", 50)
def scheduler_stepped_early(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A scheduler that is stepped before the first step of its optimizer."""
    scheduling = optimizer.scheduling
    if scheduling is None or not scheduling.early:
        return
    yield Finding(
        step=1,
        fact=f"{listed(scheduling.schedulers)} took {counted(scheduling.early, 'step')} "
        f"before step 1 of {optimizer.name}: the schedule's first lr is never used",
        remedy="call scheduler.step() after optimizer.step()",
    )


@of_a_training("scheduler never stepped", 30)
def scheduler_never_stepped(training: TrainingRecord) -> Iterator[Finding]:
    """Schedulers that are made and never stepped, unless the program ended early."""
    if training.outcome.status is not Status.COMPLETED:
        return
    for optimizer in training.optimizers:
        scheduling = optimizer.scheduling
        if scheduling is None or scheduling.steps or optimizer.taken <= HANDFUL:
            continue
        yield Finding(
            optimizer=optimizer.name,
            fact=f"{listed(scheduling.schedulers)} took no step in "
            f"{counted(optimizer.taken, 'step')} of {optimizer.name}",
            remedy="call scheduler.step() after optimizer.step(), once a step or once an epoch",
        )
