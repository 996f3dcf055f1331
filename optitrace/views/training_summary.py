"""The summary of a long training, in a few lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from optitrace.records.training import OptimizerTrace
from optitrace.text import format_significant, tallied
from optitrace.views.display import Display


def summary_lines(optimizer: OptimizerTrace, display: Display) -> Iterator[str]:
    """Yield what the recorded steps of an optimizer come to: their time, loss, gradients, clipping and lr."""
    show = partial(format_significant, digits=display.digits)
    steps, count = optimizer.steps, len(optimizer.steps)
    yield _steps_line(optimizer)
    losses = {row: x for row in range(count) for x in optimizer.numbers("loss", row) or ()}
    if finite := {row: x for row, x in losses.items() if math.isfinite(x)}:
        first, final = next(iter(losses)), next(reversed(losses))
        best = min(finite, key=finite.__getitem__)
        yield (
            f"loss: first {show(losses[first])}, best {show(losses[best])} (step {steps[best]:,}), "
            f"last {show(losses[final])}"
        )
    norms, called = _gradient_norms(optimizer)
    steepest = max(range(count), key=lambda row: math.inf if math.isnan(norms[row]) else norms[row])
    yield f"{called}: greatest {show(norms[steepest])} (step {steps[steepest]:,})"
    if clipping := optimizer.clippings.get("used"):
        cut = clipping.cut.count if clipping.cut is not None else 0
        seen = optimizer.steps_seen
        yield f"clipped: {cut:,} of {tallied(seen, 'step')} ({cut / seen:.1%})"
    yield from _rate_lines(optimizer, display)


def _steps_line(optimizer: OptimizerTrace) -> str:
    count = len(optimizer.steps)
    recorded = "" if count == optimizer.steps_seen else f", {count:,} of them shown"
    seconds = optimizer.seconds_per_step
    time = "" if seconds is None else f", {_duration(seconds)} each"
    return f"steps: {optimizer.steps_seen:,}{recorded}{time}"


def _gradient_norms(optimizer: OptimizerTrace) -> tuple[Sequence[float], str]:
    """Return the norm of the gradient in each row, before it was clipped where it was, and what that is."""
    norms, unclipped = optimizer.columns["gradient_norm"], optimizer.columns.get("unclipped_gradient_norm")
    if unclipped is None:
        return norms.values, "gradient norm"
    found = (unclipped.row(row) or norms.row(row) or () for row in range(len(optimizer.steps)))
    return [norm for (norm,) in found], "gradient norm before clipping"


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _rate_lines(optimizer: OptimizerTrace, display: Display) -> Iterator[str]:
    """Yield the lr at the start, at its peak and at the end, of each group that has one like no other."""
    column = optimizer.columns.get("lr")
    if column is None or not column.values:
        return
    digits, began = display.digits, column.first
    courses: dict[tuple[float, ...], list[int]] = {}
    for group in range(column.size):
        courses.setdefault(tuple(column.values[group :: column.size]), []).append(group)
    for rates, groups in courses.items():
        whose = f" of group {', '.join(map(str, groups))}" if len(courses) > 1 else ""
        if len(set(rates)) == 1:
            yield f"lr{whose}: {rates[0]:.{digits}g}"
            continue
        peak = max(range(len(rates)), key=lambda row: math.inf if math.isnan(rates[row]) else rates[row])
        yield (
            f"lr{whose}: start {rates[0]:.{digits}g}, peak {rates[peak]:.{digits}g} "
            f"(step {optimizer.steps[began + peak]:,}), end {rates[-1]:.{digits}g}"
        )
