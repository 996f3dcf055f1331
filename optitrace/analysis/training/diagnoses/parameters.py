"""Faults of what is trained: parameters that no optimizer moves, or two do; optimizers that move none."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.analysis.training.diagnoses.registry import Finding, of_a_training, of_an_optimizer
from optitrace.records.trace import Status
from optitrace.records.training import OptimizerTrace, Training, UnownedParameter
from optitrace.text.number_format import counted, first_of

FEWEST_INSPECTED = 4
"""In how many inspected steps a parameter that never moves must have had a gradient."""

SHORT_DTYPES = frozenset({"bfloat16", "float16"})
"""The dtypes whose weights can be kept in float32 instead."""

MOST_NAMED = 3
"""How many idle optimizers a diagnosis names."""


@of_a_training("parameter without optimizer", 10)
def unowned_parameters(training: Training) -> Iterator[Finding]:
    """Parameters of the model that get gradients and are in no optimizer."""
    alike: dict[str, list[str]] = {}
    for parameter in training.unowned:
        alike.setdefault(_since(parameter), []).append(parameter.name)
    for since, names in alike.items():
        gets, are = ("gets", "is") if len(names) == 1 else ("get", "are")
        yield Finding(
            parameter=names[0],
            fact=f"{first_of(names, 1)} of the model's parameters {gets} gradients{since} and {are} "
            "in no optimizer",
            remedy="call optimizer.add_param_group() for parameters that are unfrozen later, "
            "or make the optimizer of all of model.parameters() from the start"
            if since
            else "make the optimizer of all of model.parameters(), "
            "or freeze what is to stay as it is with requires_grad_(False)",
        )


def _since(parameter: UnownedParameter) -> str:
    """Return since when a parameter gets gradients; empty if from the first step on."""
    first, last = parameter.since, parameter.by
    if last <= 1:
        return ""
    if first == last:
        return f" since step {last} of {parameter.optimizer}"
    return f" since a step between {first} and {last} of {parameter.optimizer}"


@of_an_optimizer("parameter without gradient", 140)
def unused_parameters(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Parameters that never have a gradient, in an optimizer that has some."""
    unused = [p.name for p in optimizer.parameters if not p.had_gradient and not p.is_frozen]
    if not unused or not optimizer.gradients.keys() - {"none"}:
        return
    yield Finding(
        parameter=unused[0],
        fact=f"{first_of(unused, 1)} of the parameters of {optimizer.name} had no gradient in "
        f"{counted(optimizer.steps_seen, 'step')}",
        remedy="the loss does not depend on it: use it in forward, "
        "look for a detach() or no_grad() on the way, or leave it out",
    )


@of_an_optimizer("parameter never moves", 85)
def still_parameters(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Parameters that have gradients and that no inspected step has changed, while others move.

    Where rounding takes most updates of the optimizer, that is reported alone.
    """
    graded = [p for p in optimizer.parameters if p.movement.graded >= FEWEST_INSPECTED]
    still = [p for p in graded if p.movement.still == p.movement.graded]
    if not still or len(still) == len(optimizer.parameters):
        return
    names, first = [p.name for p in still], still[0]
    lr = optimizer.hyperparameters[first.group].get("lr")
    column = optimizer.columns.get("lr")
    lrs = [] if column is None else [column.row(row) for row in range(len(optimizer.steps))]
    if lrs and not any(values[first.group if len(values) > 1 else 0] for values in lrs if values):
        cause, remedy = f"the lr of group {first.group} is 0 in every step", "give the group an lr"
    elif first.dtype in SHORT_DTYPES:
        cause = f"rounding to {first.dtype} takes every update at lr {lr}"
        remedy = "keep these weights in float32, or raise their lr"
    else:
        cause = "every update is lost in rounding, or undone before the step is over"
        remedy = "look at the size of the gradient, and for hooks and masks around the step"
    yield Finding(
        parameter=first.name,
        parameters=tuple(names),
        count=first.movement.graded,
        fact=f"{first_of(names, 1)} of the parameters of {optimizer.name} "
        f"{'has' if len(names) == 1 else 'have'} gradients and never moved, in "
        f"{counted(first.movement.graded, 'inspected step')}: {cause}",
        remedy=remedy,
    )


@of_an_optimizer("parameter moves without gradient", 86)
def drifting_parameters(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Parameters that the optimizer moves though they never had a gradient other than zeros."""
    drifting = [p for p in optimizer.parameters if p.movement.drifts and not p.movement.graded]
    if not drifting:
        return
    names, first = [p.name for p in drifting], drifting[0]
    assert first.movement.drifts is not None
    decay = optimizer.hyperparameters[first.group].get("weight_decay")
    by = f"its weight_decay is {decay:g}" if decay else "the optimizer's state moves them on"
    yield Finding(
        step=first.movement.drifts.first,
        parameter=first.name,
        parameters=tuple(names),
        count=first.movement.drifts.count,
        fact=f"{first_of(names, 1)} of the parameters of {optimizer.name} "
        f"{'is' if len(names) == 1 else 'are'} moved, first in step {first.movement.drifts.first}, though "
        f"{'its gradient is' if len(names) == 1 else 'their gradients are'} zero: {by}",
        remedy="leave what is frozen or unused out of the optimizer, "
        "or clear gradients with zero_grad(set_to_none=True), so that steps pass such parameters",
        severity="fault" if first.is_frozen else "remark",
    )


@of_a_training("parameter in two optimizers", 20)
def shared_parameters(training: Training) -> Iterator[Finding]:
    """Parameters that are in two optimizers; each pair is reported once."""
    told: set[frozenset[str]] = set()
    for optimizer in training.optimizers:
        for other in dict.fromkeys(p.also_in for p in optimizer.parameters if p.also_in):
            pair = frozenset((optimizer.name, other))
            if pair in told:
                continue
            told.add(pair)
            shared = [p.name for p in optimizer.parameters if p.also_in == other]
            verb = "is" if len(shared) == 1 else "are"
            yield Finding(
                parameter=shared[0],
                optimizer=optimizer.name,
                fact=f"{first_of(shared, 1)} of the parameters of {optimizer.name} {verb} in {other} too",
                remedy="each moves it with a state that knows nothing of the other: give it to one of them",
            )


@of_a_training("optimizer never stepped", 40)
def idle_optimizers(training: Training) -> Iterator[Finding]:
    """Optimizers that take no step, unless the program ended early."""
    if training.idle and training.outcome.status is Status.COMPLETED:
        verb, which = ("was", "it") if len(training.idle) == 1 else ("were", "them")
        yield Finding(
            optimizer=training.idle[0],
            fact=f"{first_of(training.idle, MOST_NAMED)} {verb} made and took no step",
            remedy=f"call step() after loss.backward(), or do not make {which}",
        )
