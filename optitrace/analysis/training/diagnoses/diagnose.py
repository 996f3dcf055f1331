"""The faults of a training, in one table and in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from optitrace.analysis.training.diagnoses.clipping import (
    can_judge_clipping,
    clipped_always,
    clipped_before_backward,
    clipped_micro_batches,
    clipped_while_scaled,
)
from optitrace.analysis.training.diagnoses.gradients import (
    accumulated_gradient,
    cleared_gradient,
    no_gradient,
    scaled_gradient,
    skipped_steps,
    stale_gradient,
)
from optitrace.analysis.training.diagnoses.numbers import not_finite
from optitrace.analysis.training.diagnoses.parameters import (
    idle_optimizers,
    shared_parameters,
    unowned_parameters,
    unused_parameters,
)
from optitrace.analysis.training.diagnoses.schedules import scheduler_never_stepped, scheduler_stepped_early
from optitrace.analysis.training.diagnoses.updates import can_judge_updates, lost_updates, update_ratio
from optitrace.records.findings import Diagnosis
from optitrace.records.training import OptimizerTrace, Training
from optitrace.text.number_format import counted

OF_ITS_PARAMETERS: tuple[Callable[[OptimizerTrace], Iterable[Diagnosis]], ...] = (
    stale_gradient,
    accumulated_gradient,
    cleared_gradient,
    scaled_gradient,
)
"""The faults that an optimizer can have several times, of other parameters each; they come first."""

OF_AN_OPTIMIZER: tuple[Callable[[OptimizerTrace], Diagnosis | None], ...] = (
    scheduler_stepped_early,
    not_finite,
    skipped_steps,
    lost_updates,
    clipped_before_backward,
    clipped_while_scaled,
    clipped_micro_batches,
    clipped_always,
    no_gradient,
    unused_parameters,
    update_ratio,
)
"""The faults that an optimizer can have; where two begin in one step, the likelier cause comes first."""

OF_A_TRAINING: tuple[Callable[[Training], Iterable[Diagnosis]], ...] = (
    unowned_parameters,
    shared_parameters,
    scheduler_never_stepped,
    idle_optimizers,
)
"""The faults for which one optimizer is not enough to look at."""


def unjudged(training: Training) -> str:
    """Return what the steps of a training are too few to judge, in words; empty if there is nothing.

    It is of the first optimizer that has too few recorded steps.
    """
    for optimizer in training.optimizers:
        unknown = [] if can_judge_clipping(optimizer) else ["clipping"]
        unknown += [] if can_judge_updates(optimizer) else ["update sizes"]
        if unknown:
            of = f" of {optimizer.name}" if len(training.optimizers) > 1 else ""
            recorded = "" if len(optimizer.steps) == optimizer.steps_seen else "recorded "
            steps = counted(len(optimizer.steps), f"{recorded}step")
            return f"{steps}{of}: too few to judge {' and '.join(unknown)}"
    return ""


def diagnose(training: Training) -> tuple[Diagnosis, ...]:
    """Return the faults of a training, those of a step first, in the order of the steps, then the remarks.

    They are told from the values of the training alone, so that a saved one has the same as a fresh one.
    Facts and remedies are clauses without a point at the end, as the two halves of an error message.
    """
    found: list[Diagnosis] = []
    for optimizer in training.optimizers:
        for faults in OF_ITS_PARAMETERS:
            found += faults(optimizer)
        found += filter(None, (fault(optimizer) for fault in OF_AN_OPTIMIZER))
    found += [diagnosis for fault in OF_A_TRAINING for diagnosis in fault(training)]
    return tuple(sorted(found, key=_place))


def _place(diagnosis: Diagnosis) -> tuple[bool, bool, int]:
    return not diagnosis.is_fault, diagnosis.step is None, diagnosis.step or 0
