"""Faults of learning rates: schedulers that are stepped too early, never, or do not do what is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optitrace.analysis.training.diagnoses.registry import (
    Finding,
    of_a_training,
    of_an_optimizer,
    share_of_steps,
)
from optitrace.records.findings import Severity
from optitrace.records.trace import Status
from optitrace.records.training import LearningRateEvent, LearningRateFault, OptimizerTrace, TrainingRecord
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


@of_an_optimizer("lr put back", 51)
def put_back(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A learning rate that was loaded or set by hand, and undone by a scheduler."""
    for event in _events(optimizer, "undone by constructor"):
        yield _finding(
            event,
            f"step {event.steps.first} of {optimizer.name} uses lr {_rates(event.after)}, though "
            f"load_state_dict() had set {_rates(event.before)}: the constructor of "
            f"{_schedulers(optimizer)} has put back the first lr",
            "make the scheduler before optimizer.load_state_dict(), and load the scheduler's state, too",
        )
    for event in _events(optimizer, "put back"):
        yield _finding(
            event,
            f"step {event.steps.first} of {optimizer.name} uses lr {_rates(event.after)}, though the program "
            f"had set {_rates(event.before)}: {_schedulers(optimizer)} has put back that of its schedule",
            "change the schedule, or leave the lr to the program alone: a scheduler that counts from its "
            "first lr knows nothing of what is set by hand",
        )


@of_an_optimizer("scheduler not resumed", 52)
def scheduler_not_resumed(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A schedule that begins anew though the state of its optimizer was loaded."""
    for event in _events(optimizer, "scheduler not resumed"):
        lrs = "" if event.before == event.after else f", and get_last_lr() says {_rates(event.before)}"
        yield _finding(
            event,
            f"step {event.steps.first} of {optimizer.name} goes on from a loaded state with lr "
            f"{_rates(event.after)}, but {_schedulers(optimizer)} begins its schedule anew{lrs}",
            "save scheduler.state_dict() with the optimizer's, and load both",
        )


@of_an_optimizer("lr levelled", 53)
def levelled(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Parameter groups whose different learning rates a scheduler's constructor has made one."""
    for event in _events(optimizer, "levelled"):
        yield _finding(
            event,
            f"the groups of {optimizer.name} were made with lr {_rates(event.before)}, and "
            f"{_schedulers(optimizer)} has set the same for all, {_rates(event.after[:1])}",
            "give the scheduler a list with an lr for each group, as in max_lr=[…]",
        )


@of_an_optimizer("lr changed inside step", 210)
def changed_inside_step(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A learning rate that the step of the optimizer itself changes."""
    for event in _events(optimizer, "changed inside step"):
        first = event.steps.first
        yield _finding(
            event,
            f"step {first} of {optimizer.name} changes its own lr from {_rates(event.before)} to "
            f"{_rates(event.after)} ({share_of_steps(event.steps.count, optimizer.steps_seen)})",
            "what param_groups shows between steps, and a scheduler moves, is not what the next step begins "
            "with unless the optimizer means it so",
            severity="remark",
        )


def _events(optimizer: OptimizerTrace, fault: LearningRateFault) -> list[LearningRateEvent]:
    return [event for event in optimizer.lr_events if event.fault == fault]


def _finding(event: LearningRateEvent, fact: str, remedy: str, *, severity: Severity = "fault") -> Finding:
    return Finding(fact, remedy, event.steps.first, severity=severity, count=event.steps.count)


def _rates(rates: Sequence[float]) -> str:
    return "/".join(dict.fromkeys(f"{rate:.6g}" for rate in rates))


def _schedulers(optimizer: OptimizerTrace) -> str:
    return listed(optimizer.scheduling.schedulers) if optimizer.scheduling else "a scheduler"
