"""The ticks of an axis, and what stands at them."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.ticker import (
    FixedLocator,
    Formatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
)

from optitrace.views.pictures.scene import Axis

MOST_TICKS = 6
"""How many ticks an axis has, about."""

MOST_VALUES = 12
"""How many ticks it has where each stands for a value of a list."""

ROUND = [1, 2, 5, 10]
"""What the distance of two ticks is a power of ten times of."""


def scale(axis: Any, of: Axis) -> None:
    """Give an axis of matplotlib the scale and the ticks of an axis of a scene."""
    if of.ticks:
        shown = of.ticks[:: -(-len(of.ticks) // MOST_VALUES)]
        axis.set_major_locator(FixedLocator([at for at, _ in shown]))
        axis.set_major_formatter(FuncFormatter(lambda x, _: dict(shown).get(x, "")))
    elif of.is_logarithmic:
        axis._set_axes_scale("log")
        axis.set_major_locator(LogLocator(10, numticks=MOST_TICKS))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    else:
        is_step = of.label.startswith("step")
        axis.set_major_locator(MaxNLocator(MOST_TICKS, steps=ROUND, integer=is_step))
        axis.set_major_formatter(_formatter(of, is_step=is_step))


def _formatter(of: Axis, *, is_step: bool) -> Formatter:
    """Return how the numbers of a linear axis are written: never with a factor that stands elsewhere."""
    if is_step:
        return FuncFormatter(lambda x, _: f"{x:,.0f}")
    largest = max(abs(of.low), abs(of.high))
    if 1e-3 <= largest < 1e6:
        return ScalarFormatter(useOffset=False)
    beside = math.floor(math.log10(largest / (of.high - of.low)))
    digits = min(17, 3 + max(0, beside))  # far from zero, too, no two ticks read alike
    return FuncFormatter(lambda x, _: f"{x:.{digits}g}")
