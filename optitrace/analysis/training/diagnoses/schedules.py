"""Faults of learning rates: schedulers that are stepped too early, never, or do not do what is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optitrace.analysis.training.diagnoses.registry import (
    Finding,
    of_a_training,
    of_an_optimizer,
    share_of_steps,
    short,
)
from optitrace.analysis.training.diagnoses.rows import largest_lr, number, spread
from optitrace.records.findings import Severity
from optitrace.records.trace import Status
from optitrace.records.training import (
    LearningRateEvent,
    LearningRateFault,
    OptimizerTrace,
    Scheduling,
    TrainingRecord,
)
from optitrace.text import counted, listed

HANDFUL = 10
"""The number of steps in which no step of a scheduler need be due."""

IDLE_SHARE = 0.2
"""From what share of the steps on an lr without effect is no start or end of a schedule."""

FEWEST_IDLE = 3
"""In how many steps it must be so: a cosine to zero has one in a short run, too."""

WITHOUT_EFFECT = 2.0**-24
"""The part of the largest lr below which a step is to those of the largest what rounding is in float32."""

EARLY = 0.2
"""The part of the run by which a schedule that lowers the lr is over too early."""

LOWERED = 0.2
"""To what part of the first lr a schedule lowers it that hardly trains any more."""

CUT_SHORT = 0.5
"""Up to what part of its course a schedule was cut short; a run that stops early may end later."""

RISEN = 2.0
"""How many times the lr at the end of its course has risen again if the schedule goes back."""


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


@of_an_optimizer("lr without effect", 54)
def without_effect(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A learning rate of zero, or so small that it moves no weight, in a fifth of the steps or more."""
    largest, rows = largest_lr(optimizer), spread(optimizer)
    idle = [row for row in rows if _is_idle(optimizer, row, largest)]
    if len(idle) < max(FEWEST_IDLE, IDLE_SHARE * len(rows)):
        return
    first, last = idle[0], idle[-1]
    rates = [number(optimizer, "lr", row) for row in idle]
    if not any(rates):
        fact = "is 0"
    elif not any(number(optimizer, "update_norm", row) for row in idle):
        fact = f"is so small that no weight moves, {short(rates[0])} at first"
    else:
        fact = f"is {short(max(rates))} or less, {short(max(rates) / largest)} of its largest"
    step = optimizer.steps[first]
    until = f" to step {optimizer.steps[last]}" if last != rows[-1] else ""
    by_plateau = optimizer.scheduling is not None and "ReduceLROnPlateau" in optimizer.scheduling.schedulers
    cause = (
        "tell ReduceLROnPlateau with mode='max' that what it watches is to rise, or give it a min_lr"
        if by_plateau
        else "compute the schedule for as many steps as are taken"
    )
    yield Finding(
        step=step,
        count=len(idle),
        numbers={"largest": largest, "lr": max(rates)},
        fact=f"the lr of {optimizer.name} {fact}, in {share_of_steps(len(idle), len(rows))}, "
        f"from step {step} on{until}",
        remedy=f"these steps train nothing: {cause}",
    )


@of_a_training("schedule over early", 211)
def over_early(training: TrainingRecord) -> Iterator[Finding]:
    """A schedule that lowers the learning rate, and has done so when most of the run is still to come."""
    for optimizer, scheduling, course in _courses(training):
        row = _row_at(optimizer, scheduling, course)
        if row is None or course > EARLY * scheduling.reached:
            continue
        step = optimizer.steps[row]
        first, then, last = (number(optimizer, "lr", each) for each in (0, row, len(optimizer.steps) - 1))
        if not then <= LOWERED * first or last > RISEN * then:
            continue
        yield Finding(
            optimizer=optimizer.name,
            step=step,
            numbers={"course": course, "steps": scheduling.steps, "lr": then},
            fact=f"the schedule of {_schedulers(optimizer)} is over after {counted(course, 'step')} of its "
            f"own, at step {step} of {optimizer.taken} of {optimizer.name}, and leaves lr {_rates([then])} "
            f"of {_rates([first])} to the rest",
            remedy="a schedule that counts epochs is stepped once an epoch; one that is stepped after each "
            "batch counts batches: if the rest is to train as slowly, this is right",
            severity="remark",
        )


@of_a_training("schedule turns back", 212)
def turns_back(training: TrainingRecord) -> Iterator[Finding]:
    """A schedule that is stepped beyond its course, so that the learning rate rises again."""
    for optimizer, scheduling, course in _courses(training):
        row = _row_at(optimizer, scheduling, course)
        if row is None:
            continue
        lrs = [number(optimizer, "lr", each) for each in range(len(optimizer.steps))]
        highest = max(lrs[row:])
        if not lrs[row] < LOWERED * min(lrs[0], highest):
            continue
        step, peak = optimizer.steps[row], optimizer.steps[lrs.index(highest, row)]
        yield Finding(
            optimizer=optimizer.name,
            step=step,
            numbers={"course": course, "steps": scheduling.steps},
            fact=f"the schedule of {_schedulers(optimizer)} is over after {counted(course, 'step')} of its "
            f"own, at step {step} of {optimizer.name}, and goes on to {scheduling.reached}: the lr rises "
            f"again, from {short(lrs[row])} to {short(highest)} at step {peak}",
            remedy=f"for one descent, give the scheduler as many steps as it takes ({scheduling.reached}); "
            "where restarts are meant, this is right",
            severity="remark",
        )


@of_a_training("schedule cut short", 213)
def cut_short(training: TrainingRecord) -> Iterator[Finding]:
    """A schedule of which a completed run has taken half or less."""
    if training.outcome.status is not Status.COMPLETED:
        return
    for optimizer, scheduling, course in _courses(training):
        reached = scheduling.reached
        if not 0 < reached <= CUT_SHORT * course:
            continue
        yield Finding(
            optimizer=optimizer.name,
            step=optimizer.taken,
            numbers={"course": course, "reached": reached},
            fact=f"the schedule of {_schedulers(optimizer)} is for {counted(course, 'step')}, and is at "
            f"{reached} when the run ends, after {counted(optimizer.taken, 'step')} of {optimizer.name}: "
            f"the last lr is {short(number(optimizer, 'lr', len(optimizer.steps) - 1))}",
            remedy="count how often scheduler.step() is called, which gradient accumulation makes fewer than "
            "batches; if the run has stopped early, this is right",
            severity="remark",
        )


@of_a_training("scheduler of another optimizer", 31)
def of_another(training: TrainingRecord) -> Iterator[Finding]:
    """A scheduler that goes on for an optimizer that steps no more, and whose parameters another moves."""
    by_name = {optimizer.name: optimizer for optimizer in training.optimizers}
    for optimizer in training.optimizers:
        before = by_name.get(optimizer.takes_over)
        if before is None or before.scheduling is None or optimizer.scheduling is not None:
            continue
        late = before.scheduling.late
        lrs = {optimizer.columns["lr"].row(row) for row in spread(optimizer)}
        if late < 2 or len(lrs) != 1:  # one is due after the last step of an epoch
            continue
        yield Finding(
            optimizer=optimizer.name,
            step=1,
            count=optimizer.taken,
            numbers={"late": late},
            fact=f"{_schedulers(before)} took {counted(late, 'step')} after the last step of its optimizer "
            f"{before.name}; {optimizer.name} moves parameters of that since, and keeps lr "
            f"{_rates([number(optimizer, 'lr', 0)])}",
            remedy=f"make a new scheduler over {optimizer.name}, and step that",
        )


@of_an_optimizer("lr replaced by loading", 214)
def replaced_by_loading(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A learning rate given to the constructor that loading a state has replaced."""
    for event in _events(optimizer, "replaced by loading"):
        yield _finding(
            event,
            f"step {event.steps.first} of {optimizer.name} uses lr {_rates(event.after)}, which "
            f"load_state_dict() has set: it was made with lr {_rates(event.before)}",
            "load_state_dict() replaces the lr, too: to train on with another one, set it in param_groups "
            "after loading",
            severity="remark",
        )


def _is_idle(optimizer: OptimizerTrace, row: int, largest: float) -> bool:
    """Return whether a row had a gradient, and an lr that is too small to do anything with it."""
    lr = number(optimizer, "lr", row)
    if not number(optimizer, "gradient_norm", row) > 0 or optimizer.kind(row) == "skipped":
        return False
    is_still = number(optimizer, "update_norm", row) == 0
    return is_still if lr == 0 else lr < WITHOUT_EFFECT * largest or (is_still and lr < LOWERED * largest)


def _courses(training: TrainingRecord) -> Iterator[tuple[OptimizerTrace, Scheduling, int]]:
    """Yield the optimizers that have one scheduler whose course has an end, and that end.

    Where an optimizer was given other parameters on the way, its schedule goes on over several traces.
    """
    names = [optimizer.name for optimizer in training.optimizers]
    for optimizer in training.optimizers:
        scheduling = optimizer.scheduling
        if scheduling is None or scheduling.course is None or not scheduling.steps or not optimizer.steps:
            continue
        is_whole = not any(name.startswith(f"{optimizer.name}, ") for name in names)
        if is_whole and optimizer.taken > HANDFUL:
            yield optimizer, scheduling, scheduling.course


def _row_at(optimizer: OptimizerTrace, scheduling: Scheduling, course: int) -> int | None:
    """Return the first row that uses the lr at the end of a course; None if none does.

    It is taken for granted that the scheduler is stepped after as many steps of the optimizer each time.
    """
    loaded = scheduling.reached - scheduling.steps
    step = (course - loaded) * round(optimizer.taken / scheduling.steps) + 1
    if step <= 1:
        return None
    return next((row for row, each in enumerate(optimizer.steps) if each >= step), None)


def _events(optimizer: OptimizerTrace, fault: LearningRateFault) -> list[LearningRateEvent]:
    return [event for event in optimizer.lr_events if event.fault == fault]


def _finding(event: LearningRateEvent, fact: str, remedy: str, *, severity: Severity = "fault") -> Finding:
    return Finding(fact, remedy, event.steps.first, severity=severity, count=event.steps.count)


def _rates(rates: Sequence[float]) -> str:
    return "/".join(dict.fromkeys(f"{rate:.6g}" for rate in rates))


def _schedulers(optimizer: OptimizerTrace) -> str:
    return listed(optimizer.scheduling.schedulers) if optimizer.scheduling else "a scheduler"
