"""Faults of learning rate schedulers: stepped too early, or never."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.records.findings import Diagnosis
from optitrace.records.trace import Status
from optitrace.records.training import OptimizerTrace, Training
from optitrace.text.number_format import counted, listed

HANDFUL = 10
"""So many steps can be a trial that ends before the first step of a scheduler is due."""


def scheduler_stepped_early(optimizer: OptimizerTrace) -> Diagnosis | None:
    """Look for a scheduler that was stepped before the optimizer."""
    scheduling = optimizer.scheduling
    if scheduling is None or not scheduling.early:
        return None
    return Diagnosis(
        fault="scheduler before optimizer",
        optimizer=optimizer.name,
        step=1,
        parameter=None,
        fact=f"{listed(scheduling.schedulers)} took {counted(scheduling.early, 'step')} "
        f"before step 1 of {optimizer.name}: the schedule's first lr is never used",
        remedy="call scheduler.step() after optimizer.step()",
    )


def scheduler_never_stepped(training: Training) -> Iterator[Diagnosis]:
    """Look for schedulers that were made and never stepped, unless the program ended before its time."""
    if training.outcome.status is not Status.COMPLETED:
        return
    for optimizer in training.optimizers:
        scheduling = optimizer.scheduling
        if scheduling is None or scheduling.steps or optimizer.taken <= HANDFUL:
            continue
        yield Diagnosis(
            fault="scheduler never stepped",
            optimizer=optimizer.name,
            step=None,
            parameter=None,
            fact=f"{listed(scheduling.schedulers)} took no step in "
            f"{counted(optimizer.taken, 'step')} of {optimizer.name}",
            remedy="call scheduler.step() after optimizer.step(), once a step or once an epoch",
        )
