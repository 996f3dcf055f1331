"""The axis of a quantity: which of its numbers are shown, and whether it is logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optitrace.analysis.loss_grid import RUNAWAY, Interval, rows_before_flight
from optitrace.views.pictures.scene import Axis

DECADES = 2.0
"""A quantity that spans more decades is drawn on a logarithmic axis."""

MOST_DECADES = 40.0
"""How many decades an axis has at most; of what spans more, the greatest are shown."""

SHARED_DECADES = 16.0
"""How many it has where several curves share it, as one that falls on would press the others flat."""

LEAST_EXTENT = 5e-7
"""What spans less, as a share of its size, is drawn as constant: in float32 it is little but rounding."""

GREATEST = 1e300
"""What is farther from zero is on no axis: whoever draws one must be able to compute with its ends."""

MARGIN = 0.05
"""What is left free above and below, as a share of the axis."""


def axis_of(label: str, columns: Sequence[Sequence[float]], most_decades: float = MOST_DECADES) -> Axis:
    """Return the axis upwards of some curves that share it.

    It is logarithmic where no number is negative and those above zero span more than `DECADES`. Curves
    that run away have no say in it, unless all do; on a linear axis, of those the beginnings have one.
    """
    columns = [column for column in columns if not _runs_away(column)] or columns
    finite = [x for column in columns for x in column if abs(x) <= GREATEST]
    positive = [x for x in finite if x > 0]
    if positive and min(finite) >= 0 and math.log10(max(positive)) - math.log10(min(positive)) > DECADES:
        return _logarithmic(label, positive, most_decades if len(columns) == 1 else SHARED_DECADES)
    return linear_axis(label, [x for column in columns for x in _before_flight(column)])


def linear_axis(label: str, numbers: Sequence[float]) -> Axis:
    """Return the linear axis that holds some numbers, of which those that are not finite do not count."""
    known = [x for x in numbers if abs(x) <= GREATEST]
    low, high = min(known, default=0.0), max(known, default=1.0)
    extent = high - low
    is_flat = extent <= LEAST_EXTENT * max(abs(low), abs(high))
    margin = (abs(low) / 10 or 1.0) if is_flat else MARGIN * extent
    return Axis(label, low - margin, high + margin)


def steps_axis(label: str, last: int) -> Axis:
    """Return the axis of the steps from 0 on."""
    return Axis(label, 0.0, float(max(last, 1)))


def interval_axis(label: str, interval: Interval) -> Axis:
    """Return the linear axis of an interval."""
    return Axis(label, interval.low, interval.high)


def _logarithmic(label: str, positive: Sequence[float], most_decades: float) -> Axis:
    high = math.log10(max(positive))
    low = max(math.log10(min(positive)), high - most_decades)
    margin = MARGIN * (high - low)
    return Axis(label, _power(low - margin), _power(high + margin), is_logarithmic=True)


def _runs_away(column: Sequence[float]) -> bool:
    """Return whether a curve ends far above where it began, or with no number."""
    return bool(column) and not column[-1] <= RUNAWAY * abs(column[0])


def _power(exponent: float) -> float:
    return float(10.0 ** max(-307.0, min(301.0, exponent)))


def _before_flight(column: Sequence[float]) -> Sequence[float]:
    """Return the numbers of a curve before it runs away, as far as they are finite."""
    finite = [x for x in column if math.isfinite(x)]
    return finite[: rows_before_flight([abs(x - finite[0]) for x in finite])] if finite else []
