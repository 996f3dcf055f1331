"""The sparkline: the course of a loss in one line of signs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from optitrace.views.display import Display
from optitrace.views.pictures.scene import Axis, axis_of

LEVELS = "▁▂▃▄▅▆▇█"
ASCII_LEVELS = ".:-=+*#"
"""The signs, from the lowest numbers to the highest."""

NON_FINITE, ASCII_NON_FINITE = "×", "x"
"""What stands where the numbers are not finite, as in a sweep where all diverged."""

MOST_SIGNS = 32
"""How many signs a sparkline has at most: two for each cell, where it has fewer signs than numbers."""

LEAST_NUMBERS = 4
"""Fewer numbers say more by themselves."""


def sparkline(losses: Sequence[float], display: Display) -> str:
    """Return the course of a loss in at most `MOST_SIGNS` signs; nothing where it would say nothing.

    It says nothing of fewer than `LEAST_NUMBERS` numbers, and of numbers that are all the same. Where they
    span decades, equal ratios are equally high, and ``(log)`` says so. Of more numbers than
    there are signs, the least and the greatest of each cell are drawn, in their order, so that no leap is
    left out, up or down.

    >>> sparkline([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], Display(ascii=True))
    '#*+==-:.'
    >>> sparkline([1.0, 0.1, 0.01, 0.001, math.inf], Display())
    '█▆▃▁× (log)'
    >>> sparkline([*[8.0] * 50, 1.0, *[4.0] * 49, *[0.0] * 50, 8.0, *[0.0] * 49], Display(ascii=True))
    '########:=======........#.......'

    Args:
        losses: the numbers, one for each step; any may not be finite.
        display: which signs can be shown.
    """
    return sparklines([losses], display)[0]


def sparklines(columns: Sequence[Sequence[float]], display: Display) -> list[str]:
    """Return the course of several losses, of equal height where they are equal; see `sparkline`.

    Args:
        columns: the numbers of each; a step takes equal room in all.
        display: which signs can be shown.
    """
    longest = max(map(len, columns), default=0)
    thinned = columns
    if longest > MOST_SIGNS:
        share = longest / (MOST_SIGNS // 2)
        thinned = [list(_extremes(column, share)) for column in columns]
    finite = {x for column in columns for x in column if math.isfinite(x)}
    if longest < LEAST_NUMBERS or len(finite) < 2:
        return [""] * len(columns)
    axis = axis_of("loss", thinned)
    said = " (log)" if axis.is_logarithmic else ""
    return [f"{_drawn(column, axis, display)}{said}" for column in thinned]


def _extremes(numbers: Sequence[float], share: float) -> Iterator[float]:
    """Yield the least and the greatest of every `share` numbers, in order; what is not finite is greatest."""
    for k in range(math.ceil(len(numbers) / share - 1e-9)):
        cell = numbers[math.floor(k * share) : math.floor((k + 1) * share + 1e-9)]
        heights = [x if math.isfinite(x) else math.inf for x in cell]
        least, greatest = heights.index(min(heights)), heights.index(max(heights))
        yield from (cell[min(least, greatest)], cell[max(least, greatest)])


def _drawn(numbers: Sequence[float], axis: Axis, display: Display) -> str:
    levels = ASCII_LEVELS if display.ascii else LEVELS
    gap = ASCII_NON_FINITE if display.ascii else NON_FINITE
    shares = (axis.share(x) if math.isfinite(x) else None for x in numbers)
    last = len(levels) - 1
    return "".join(
        gap if share is None else levels[round(min(max(share, 0.0), 1.0) * last)] for share in shares
    )
