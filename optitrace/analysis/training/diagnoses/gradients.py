"""Faults of the gradients that steps use: outdated, added up, scaled, or not there."""

from __future__ import annotations

from optitrace.analysis.training.diagnoses.wording import share_of_steps
from optitrace.analysis.training.findings import Diagnosis
from optitrace.tracing.watching.training import OptimizerTrace

SEARCH_FOR_THE_SCALE = 16
"""How many skipped steps a GradScaler may need to find its scale: so many halvings take 2**16 to 1."""

MOST_SKIPPED = 0.1
"""The share of skipped steps beyond those: one trial of a larger scale in 2000 steps is the default."""


def stale_gradient(optimizer: OptimizerTrace) -> Diagnosis | None:
    """Look for steps on a gradient that was stepped on before."""
    return _of_kind(
        optimizer,
        "stale",
        "stale gradient",
        "uses the gradient of the step before once more: no backward came between",
        "call loss.backward() before each optimizer.step()",
    )


def accumulated_gradient(optimizer: OptimizerTrace) -> Diagnosis | None:
    """Look for gradients that were added to those of the step before."""
    return _of_kind(
        optimizer,
        "accumulated",
        "accumulated gradient",
        "adds its gradient to that of the step before, which was not cleared",
        "call optimizer.zero_grad() before loss.backward()",
    )


def scaled_gradient(optimizer: OptimizerTrace) -> Diagnosis | None:
    """Look for steps on gradients that still have the scale of a GradScaler."""
    return _of_kind(
        optimizer,
        "scaled",
        "scaled gradient",
        "uses a gradient that is still multiplied with a GradScaler's scale",
        "call scaler.step(optimizer), which takes the scale out, instead of optimizer.step()",
    )


def _of_kind(
    optimizer: OptimizerTrace, kind: str, fault: str, what_it_does: str, remedy: str
) -> Diagnosis | None:
    if (tally := optimizer.gradients.get(kind)) is None:
        return None
    return Diagnosis(
        fault=fault,
        optimizer=optimizer.name,
        step=tally.first,
        parameter=None,
        fact=f"step {tally.first} of {optimizer.name} {what_it_does} "
        f"({share_of_steps(tally.count, optimizer.steps_seen)})",
        remedy=remedy,
    )


def skipped_steps(optimizer: OptimizerTrace) -> Diagnosis | None:
    """Look for more skipped steps than a GradScaler needs to find its scale, and to try larger ones."""
    tally, taken = optimizer.gradients.get("skipped"), optimizer.steps_seen
    if tally is None or tally.count <= SEARCH_FOR_THE_SCALE + MOST_SKIPPED * taken:
        return None
    return Diagnosis(
        fault="skipped steps",
        optimizer=optimizer.name,
        step=tally.first,
        parameter=None,
        fact=f"a GradScaler left out {share_of_steps(tally.count, taken)} of {optimizer.name}, "
        f"first step {tally.first}: their gradients were not finite",
        remedy="look for a loss that is not finite, lower the lr, or train in bfloat16 without a GradScaler",
    )


def no_gradient(optimizer: OptimizerTrace) -> Diagnosis | None:
    """Look for an optimizer none of whose steps had a gradient."""
    tally, taken = optimizer.gradients.get("none"), optimizer.steps_seen
    if tally is None or tally.count < taken:
        return None
    return Diagnosis(
        fault="no gradient",
        optimizer=optimizer.name,
        step=tally.first,
        parameter=None,
        fact=f"step {tally.first} of {optimizer.name} moves nothing: no parameter has a gradient "
        f"({share_of_steps(tally.count, taken)})",
        remedy="call loss.backward() before optimizer.step(), "
        "and make the optimizer of the parameters that the loss depends on",
    )
