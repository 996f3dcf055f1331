"""Faults of the trained parameters: in no optimizer, unused, or in two; optimizers that are never stepped."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.analysis.training.diagnoses.registry import Finding, of_a_training, of_an_optimizer
from optitrace.records.trace import Status
from optitrace.records.training import OptimizerTrace, TrainingRecord, UnownedParameter
from optitrace.text import counted, first_of

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
            fact=f"{first_of(names, 1)} of the model's parameters {gets} gradients{since} and {are} "
            "in no optimizer",
            remedy="call optimizer.add_param_group() for parameters that are unfrozen later, "
            "or pass all of model.parameters() to the optimizer from the start"
            if since
            else "pass all of model.parameters() to the optimizer, "
            "or freeze those that should not change with requires_grad_(False)",
        )


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
