"""Faults of gradient clipping: without effect, of scaled gradients, or in nearly every step.

Whether clipping shortens a step is computed by evaluating the optimizer's rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer, share_of_steps, short
from optitrace.analysis.training.diagnoses.rows import number, spread
from optitrace.analysis.training.diagnoses.step_size import step_growth
from optitrace.records.training import ClippingTally, OptimizerTrace
from optitrace.text import counted, first_of

FEWEST_CLIPPED = 20
"""The smallest number of steps of which nearly all can be called clipped."""

FEWEST_MISPLACED = 3
"""The smallest number of steps at which a misplaced clipping is reported."""

NEARLY_ALL = 0.95
"""The fraction of steps that counts as nearly all."""

SMALL_CUT = 2
"""The factor up to which a clipped step counts as unaffected: an lr is hardly known more precisely."""

MEANT_FOR_THE_SCALE = 0.01
"""The part of a GradScaler's scale from which on a limit may have been multiplied by the scale, too."""

FAR_LIMIT = 3
"""How many times the largest norm a limit is that never acts; a nearer one may be there for an outlier."""

MOST_NAMED = 2
"""The number of clipped parameters that are named."""


@of_an_optimizer("clipping without effect", 90)
def clipped_before_backward(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Clipping between a step and the next backward, which no step uses."""
    tally, taken = optimizer.clippings.get("before backward"), optimizer.steps_seen
    if tally is None or tally.steps.count < max(FEWEST_MISPLACED, NEARLY_ALL * (taken - 1)):
        return
    norms = _norms(optimizer)
    if tally.cut is None and max(norms, default=0.0) <= tally.limits[0]:
        return
    step = tally.steps.first
    after = f"after step {step - 1} and " if step > 1 else ""
    used = f"; the steps use gradients of norm {short(median(norms))} (median)" if norms else ""
    yield Finding(
        step=step,
        fact=f"clipping ({_limit(tally)}) has no effect on the steps of {optimizer.name}: it comes {after}"
        f"before the backward of step {step} ({share_of_steps(tally.steps.count, taken)}){used}",
        remedy="call it between loss.backward() and optimizer.step()",
    )


@of_an_optimizer("clipping of a scaled gradient", 100)
def clipped_while_scaled(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Gradients that are clipped while still multiplied by the scale of a GradScaler."""
    tally = optimizer.clippings.get("scaled")
    if tally is None or tally.cut is None or tally.scale is None or tally.scale <= 1:
        return
    limit = tally.limits[0]
    if limit >= MEANT_FOR_THE_SCALE * tally.scale:
        return
    yield Finding(
        step=tally.cut.first,
        fact=f"step {tally.cut.first} of {optimizer.name} uses a gradient that was clipped while multiplied "
        f"by the scale of a GradScaler: the limit {limit:g} acts as {limit:g}/{tally.scale:.0f} = "
        f"{short(limit / tally.scale)} ({share_of_steps(tally.cut.count, optimizer.steps_seen)})",
        remedy="call scaler.unscale_(optimizer) before clipping",
    )


@of_an_optimizer("clipping of micro-batches", 110)
def clipped_micro_batches(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Clipping before the last backward of nearly every step."""
    tally, taken = optimizer.clippings.get("micro-batch"), optimizer.steps_seen
    if tally is None or tally.cut is None or tally.steps.count < max(FEWEST_MISPLACED, NEARLY_ALL * taken):
        return
    yield Finding(
        step=tally.cut.first,
        fact=f"clipping ({_limit(tally)}) comes before the last backward of step {tally.cut.first} of "
        f"{optimizer.name}, which adds to the clipped gradient ({share_of_steps(tally.steps.count, taken)})",
        remedy="this clips each micro-batch together with those before it; to limit the gradient that the "
        "step uses, clip once, after the last backward",
        severity="remark",
    )


def undecided_clipping(optimizer: OptimizerTrace) -> str:
    """Return the part that too few steps leave undecided in `clipped_always`; empty if none."""
    tally = optimizer.clippings.get("used")
    is_cut = tally is not None and tally.cut is not None
    return "clipping" if is_cut and optimizer.steps_seen < FEWEST_CLIPPED else ""


@of_an_optimizer("clipped gradient", 120, undecided_clipping)
def clipped_always(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Gradients that are clipped in nearly every step.

    It is a fault if this makes the steps much shorter. How the size of a step depends on that of the gradient
    is computed from the rule: strongly in SGD, hardly in Adam. It is unknown for a class without a rule.
    """
    tally, cut = optimizer.clippings.get("used"), _usual_cut(optimizer)
    if tally is None or tally.cut is None or cut is None:
        return
    before, after = cut
    growth = step_growth(optimizer, before, after)
    yield Finding(
        step=tally.cut.first,
        fact=f"clipping cuts the gradient of {_clipped_parts(optimizer, tally)} in "
        f"{share_of_steps(tally.cut.count, optimizer.steps_seen)}, "
        f"typically from norm {short(before)} to {short(after)}",
        remedy=_consequence(optimizer, growth, before / after),
        severity="fault" if growth is not None and growth >= SMALL_CUT else "remark",
    )


@of_an_optimizer("clipping never cuts", 330)
def clipped_never(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A limit far above all gradients, in nearly every step."""
    tally, taken = optimizer.clippings.get("used"), optimizer.steps_seen
    if tally is None or tally.cut is not None or tally.steps.count < max(FEWEST_CLIPPED, NEARLY_ALL * taken):
        return
    largest = max(_norms(optimizer), default=0.0)
    if tally.limits[0] < FAR_LIMIT * largest:
        return
    yield Finding(
        step=tally.steps.first,
        count=tally.steps.count,
        fact=f"clipping ({_limit(tally)}) cuts no gradient of {_clipped_parts(optimizer, tally)} in "
        f"{counted(tally.steps.count, 'step')}; the largest norm is {short(largest)}",
        remedy="the steps are the same without it; a limit that is to catch an outlier should be two or "
        "three times the usual norm",
        severity="remark",
        numbers={"limit": tally.limits[0], "largest": largest},
    )


def shortening(optimizer: OptimizerTrace) -> float:
    """Return the factor by which clipping shortens nearly all steps; 1 if it does not, or if unknown."""
    cut = _usual_cut(optimizer)
    return 1.0 if cut is None else step_growth(optimizer, *cut) or 1.0


def _consequence(optimizer: OptimizerTrace, growth: float | None, factor: float) -> str:
    """Return the consequence of clipping, as a clause.

    Args:
        optimizer: the optimizer.
        growth: the factor by which its steps would be longer without clipping; None if unknown.
        factor: the factor by which its gradients would be larger.
    """
    if growth is None:
        return (
            f"whether this makes the steps shorter depends on the update rule of {optimizer.name}, which is "
            "not known; a rule that divides by the size of the gradient, as Adam's does, keeps their length"
        )
    if growth >= SMALL_CUT:
        return (
            f"this makes the steps {short(growth)} times shorter: the limit, not the loss, sets their size; "
            "raise it above the usual norm, or stop clipping and lower the lr"
        )
    if factor < SMALL_CUT:
        return f"this makes the steps {growth:.2g} times shorter; no change is needed"
    length = "just as long" if f"{growth:.2g}" == "1" else f"{growth:.2g} times as long"
    return (
        f"with {optimizer.name} the clipping limit does not set the size of the steps: "
        f"by its rule they would be {length} without clipping"
    )


def _usual_cut(optimizer: OptimizerTrace) -> tuple[float, float] | None:
    """Return the median norms before clipping and after, of the rows that are cut; None if few steps are."""
    tally, taken = optimizer.clippings.get("used"), optimizer.steps_seen
    if tally is None or tally.cut is None or taken < FEWEST_CLIPPED or tally.cut.count < NEARLY_ALL * taken:
        return None
    pairs = [
        (number(optimizer, "unclipped_gradient_norm", row), number(optimizer, "gradient_norm", row))
        for row in spread(optimizer)
    ]
    cut = [(before, after) for before, after in pairs if math.inf > before > after > 0]  # not true of NaN
    if not cut:
        return None
    before, after = (median(norms) for norms in zip(*cut, strict=True))
    return before, after


def _norms(optimizer: OptimizerTrace) -> list[float]:
    norms = (number(optimizer, "gradient_norm", row) for row in spread(optimizer))
    return [norm for norm in norms if math.isfinite(norm)]


def _limit(tally: ClippingTally) -> str:
    least, greatest = tally.limits
    return f"limit {least:g}" if least == greatest else f"limits {least:g} to {greatest:g}"


def _clipped_parts(optimizer: OptimizerTrace, tally: ClippingTally) -> str:
    """Return the name of the optimizer, or the clipped parameters if not all are."""
    if not tally.parameters:
        return optimizer.name
    named = first_of(tally.parameters, MOST_NAMED)
    return f"{counted(len(tally.parameters), 'parameter')} of {optimizer.name} ({named})"
