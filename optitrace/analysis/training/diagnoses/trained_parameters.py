"""Faults of the trained parameters: in no optimizer, unused, or in two; optimizers that are never stepped."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.analysis.training.diagnoses.registry import Finding, of_a_training, of_an_optimizer
from optitrace.analysis.training.diagnoses.updates import SHORT_DTYPES
from optitrace.records.trace import Status
from optitrace.records.training import (
    Movement,
    OptimizerTrace,
    TrainingRecord,
    UnownedParameter,
    WatchedParameter,
)
from optitrace.text import counted, first_of

FEWEST_INSPECTED = 4
"""In how many inspected steps a parameter that never moves must have had a gradient."""

MOST_NAMED = 3
"""The number of idle optimizers that a diagnosis names."""


@of_a_training("parameter without optimizer", 10)
def unowned_parameters(training: TrainingRecord) -> Iterator[Finding]:
    """Parameters of the model that get gradients and are in no optimizer."""
    alike: dict[str, list[str]] = {}
    for parameter in training.unowned:
        alike.setdefault(_since(parameter), []).append(parameter.name)
    for since, names in alike.items():
        gets, are = ("gets", "is") if len(names) == 1 else ("get", "are")
        yield Finding(
            parameter=names[0],
            parameters=tuple(names),
            step=_first_step(training, names[0]),
            fact=f"{first_of(names, 1)} of the model's parameters {gets} gradients{since} and {are} "
            "in no optimizer",
            remedy="call optimizer.add_param_group() for parameters that are unfrozen later, "
            "or pass all of model.parameters() to the optimizer from the start"
            if since
            else "pass all of model.parameters() to the optimizer, "
            "or freeze those that should not change with requires_grad_(False)",
        )


def _first_step(training: TrainingRecord, name: str) -> int | None:
    """Return the first step by which a parameter has a gradient; None if it had one from the first on."""
    first = next(parameter.by for parameter in training.unowned if parameter.name == name)
    return first if first > 1 else None


def _since(parameter: UnownedParameter) -> str:
    """Return a clause on the step since which a parameter gets gradients; empty if it is the first."""
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
        remedy="the loss does not depend on it: use it in forward(), "
        "check for a detach() or no_grad() before the loss, or remove it from the optimizer",
    )


@of_an_optimizer("parameter never moves", 85)
def still_parameters(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Parameters that have gradients and that no inspected step has changed, while others move.

    Where rounding takes most updates of the optimizer, that is reported alone.
    """
    graded = {p.name: p.movement.graded for p in optimizer.parameters if p.movement.graded is not None}
    still = [
        p for p in optimizer.parameters if p.name in graded and _is_still(p.movement, graded[p.name].count)
    ]
    if not still or len(still) == len(optimizer.parameters):
        return
    names, first, steps = [p.name for p in still], still[0], graded[still[0].name]
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
        step=steps.first,
        count=steps.count,
        fact=f"{first_of(names, 1)} of the parameters of {optimizer.name} "
        f"{'has' if len(names) == 1 else 'have'} gradients and never moved, in "
        f"{counted(steps.count, 'inspected step')} from step {steps.first} on: {cause}",
        remedy=remedy,
    )


@of_an_optimizer("gradient of zeros", 141)
def zero_gradients(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Weights whose gradient is zero in every number of every inspected step, while others have some.

    Only those count whose module has another parameter with a gradient: what reaches that would reach them,
    too. A bias may have none by right, as before a normalization, and a whole module that is never active.
    """
    reached = {_module(p) for p in optimizer.parameters if p.movement.graded}
    zero = [
        p
        for p in optimizer.parameters
        if _is_always_zero(p) and not p.is_frozen and len(p.shape) > 1 and _module(p) in reached
    ]
    if not zero or len(zero) == len(optimizer.parameters) or any(p.movement.drifts for p in zero):
        return
    names, steps = [p.name for p in zero], zero[0].movement.zero
    assert steps is not None
    yield Finding(
        step=steps.first,
        count=steps.count,
        parameter=names[0],
        parameters=tuple(names),
        fact=f"the gradient of {first_of(names, 1)} of the parameters of {optimizer.name} is zero in "
        f"{counted(steps.count, 'inspected step')} from step {steps.first} on, so that "
        f"{'it never moves' if len(names) == 1 else 'they never move'}",
        remedy="look for a hook, a mask or a product with zero on its way; "
        "call requires_grad_(False) if it is to stay as it is",
    )


@of_an_optimizer("parameter moves without gradient", 86)
def drifting_parameters(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Parameters that are moved though they are frozen, or never had a gradient other than zeros."""
    frozen = [(p, steps) for p in optimizer.parameters if (steps := p.movement.frozen_drifts) is not None]
    moved = frozen or [
        (p, steps)
        for p in optimizer.parameters
        if (steps := p.movement.drifts) is not None and _is_always_zero(p)
    ]
    if not moved:
        return
    (first, steps), names = moved[0], [p.name for p, _ in moved]
    decay = optimizer.hyperparameters[first.group].get("weight_decay")
    by = [f"weight_decay={decay:g}"] if decay else []
    by += ["what the state remembers"] if first.movement.graded else []
    is_one = len(names) == 1
    yield Finding(
        step=steps.first,
        count=steps.count,
        parameter=first.name,
        parameters=tuple(names),
        fact=f"{first_of(names, 1)} of the parameters of {optimizer.name} {'is' if is_one else 'are'} "
        f"{'frozen, and' if frozen else 'without a gradient but zeros, and'} moved all the same from step "
        f"{steps.first} on{' by ' if by else ''}{' and '.join(by)}",
        remedy="leave what is frozen or unused out of the optimizer, "
        "or clear gradients with zero_grad(set_to_none=True), so that steps pass such parameters",
    )


def _module(parameter: WatchedParameter) -> str:
    return parameter.name.rpartition(".")[0]


def _is_still(movement: Movement, graded: int) -> bool:
    return graded >= FEWEST_INSPECTED and movement.still == graded


def _is_always_zero(parameter: WatchedParameter) -> bool:
    """Return whether a parameter has gradients, and each of them is zero."""
    zero = parameter.movement.zero
    return not parameter.movement.graded and zero is not None and zero.count >= FEWEST_INSPECTED


@of_a_training("parameter in two optimizers", 20)
def shared_parameters(training: TrainingRecord) -> Iterator[Finding]:
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
                remedy="each updates it with state of its own: pass it to only one of them",
            )


@of_a_training("optimizer never stepped", 40)
def idle_optimizers(training: TrainingRecord) -> Iterator[Finding]:
    """Optimizers that take no step, unless the program ended early."""
    if training.idle and training.outcome.status is Status.COMPLETED:
        verb, which = ("was", "it") if len(training.idle) == 1 else ("were", "them")
        yield Finding(
            optimizer=training.idle[0],
            fact=f"{first_of(training.idle, MOST_NAMED)} {verb} created but never stepped",
            remedy=f"call step() after loss.backward(), or do not create {which}",
        )


@of_an_optimizer("shared state", 8)
def shared_state(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """State tensors that two optimizers have, so that each step of one changes the state of the other."""
    shared = optimizer.shares_state
    if shared is None:
        return
    yield Finding(
        step=shared.step,
        fact=f"the state of {optimizer.name} has the same tensors as that of {shared.optimizer}, seen after "
        f"step {shared.step}: each step of one changes the state of both",
        remedy="load a copy: optimizer.load_state_dict(copy.deepcopy(other.state_dict()))",
    )
