"""Faults of the size of updates: lost in rounding, or far too small or too large for the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from optitrace.analysis.training.diagnoses.gradient_clipping import clipped_while_scaled, shortening
from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer, short
from optitrace.analysis.training.diagnoses.rows import (
    FIRST_ROWS,
    is_at_work,
    largest_lr,
    number,
    spread,
)
from optitrace.experiment.float_formats import FORMATS
from optitrace.monitoring.recording_config import is_inspected
from optitrace.records.training import LostUpdate, OptimizerTrace
from optitrace.text import listed

MOST_LOST = 0.5
"""The fraction of lost updates up to which a step still moves most weights as intended.

Adam at its usual lr loses some per cent in bfloat16, and a plateau loses some in any dtype.
"""

SHORT_DTYPES = frozenset({"bfloat16", "float16"})
"""The dtypes whose weights can be kept in float32 instead."""

USUAL_RATIO = (1e-5, 1e-1)
"""The usual range of the ratio of an update to the weights."""

FAR = 10
"""The factor by which a ratio is far outside of it: 10,000 steps move by 1 %, or one step by all."""

FEWEST_ROWS = 5
"""The smallest number of rows of a median."""


@of_an_optimizer("lost update", 80)
def lost_updates(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Rounding that loses most updates, in most of the inspected steps.

    Where a long dtype loses those that clipping on a scaled gradient has made small, that is reported alone.
    """
    if not optimizer.lost:
        return
    at_work, rows = is_at_work(optimizer), range(len(optimizer.steps))
    inspected = {optimizer.steps[row] for row in rows if is_inspected(row + 1) and at_work(row)}
    bad = [lost for lost in optimizer.lost if lost.step in inspected and _share(lost) > MOST_LOST]
    if len(bad) <= len(inspected) / 2:
        return
    if SHORT_DTYPES.isdisjoint(_dtypes(optimizer)) and any(clipped_while_scaled(optimizer)):
        return
    yield _lost_update(optimizer, bad[0])


def _share(lost: LostUpdate) -> float:
    return lost.lost / lost.coordinates if lost.coordinates else 0.0


def _lost_update(optimizer: OptimizerTrace, lost: LostUpdate) -> Finding:
    raised = f"raise the lr ({short(largest_lr(optimizer))})"
    dtypes = _dtypes(optimizer)
    if not SHORT_DTYPES.isdisjoint(dtypes):
        remedy = f"keep the weights in float32 and use autocast, round stochastically, or {raised}"
    else:
        remedy = f"{raised}, or find out why the gradient is so small"
    return Finding(
        step=lost.step,
        fact=f"step {lost.step} of {optimizer.name} leaves {100 * _share(lost):.3g} % of the "
        f"{listed(dtypes)} weights unchanged: {_taken(dtypes)}",
        remedy=remedy,
    )


def _dtypes(optimizer: OptimizerTrace) -> list[str]:
    """Return the dtypes of the parameters that can move, in their order."""
    moved = [p for p in optimizer.parameters if p.had_gradient and not p.is_frozen]
    return list(dict.fromkeys(p.dtype for p in moved or optimizer.parameters))


def _taken(dtypes: Sequence[str]) -> str:
    """Return the clause on what rounding loses; of several dtypes, in the coarsest."""
    limits = {dtype: 2.0 ** -FORMATS[dtype].bits for dtype in dtypes if dtype in FORMATS}
    if not limits:
        return "their updates are lost in rounding"
    coarsest = max(limits, key=limits.__getitem__)  # half a unit in the last place
    which = f" in {coarsest}" if len(dtypes) > 1 else ""
    return f"rounding loses updates below {short(limits[coarsest])} of a weight{which}"


def undecided_updates(optimizer: OptimizerTrace) -> str:
    """Return the part that too few recorded steps leave undecided in `update_ratio`; empty if none."""
    later = (step for step in optimizer.steps if step - optimizer.steps[0] >= FIRST_ROWS)
    return "" if sum(1 for _ in later) >= FEWEST_ROWS else "update sizes"


@of_an_optimizer("update ratio", 150, undecided_updates)
def update_ratio(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A median update, after the beginning, far too small or too large for the weights.

    Updates that are small because rounding takes them, or because the gradient is clipped, are reported as
    that alone.
    """
    at_work = is_at_work(optimizer)
    ratios = [
        ratio
        for row in spread(optimizer)
        if optimizer.steps[row] - optimizer.steps[0] >= FIRST_ROWS
        and at_work(row)
        and math.isfinite(ratio := number(optimizer, "update_ratio", row))
    ]
    if len(ratios) < FEWEST_ROWS:
        return
    usual, (least, most) = median(ratios), USUAL_RATIO
    if usual > most * FAR:
        remedy = "lower the lr ({lr}) until an update is about 0.001 of the weights"
    elif usual < least / FAR and not _have_another_cause(optimizer, usual):
        remedy = "raise the lr ({lr}) until an update is about 0.001 of the weights"
    else:
        return
    yield Finding(
        fact=f"an update of {optimizer.name} is {short(usual)} of the weights' norm "
        f"(median after step {FIRST_ROWS}); usual is {least:g} to {most:g}",
        remedy=remedy.format(lr=short(largest_lr(optimizer))),
    )


def _have_another_cause(optimizer: OptimizerTrace, usual: float) -> bool:
    """Return whether small updates have a cause other than the lr, or are reported already."""
    return (
        _rest_on_others(optimizer)
        or any(lost_updates(optimizer))
        or any(clipped_while_scaled(optimizer))
        or usual * shortening(optimizer) >= USUAL_RATIO[0] / FAR
    )


def _rest_on_others(optimizer: OptimizerTrace) -> bool:
    """Return whether most weights are not moved at all, which makes the ratio small."""
    moved = {True: 0, False: 0}
    for parameter in optimizer.parameters:
        moved[parameter.had_gradient and not parameter.is_frozen] += math.prod(parameter.shape)
    return moved[True] < moved[False]
