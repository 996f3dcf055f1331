"""The ticks of an axis: few, at round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optitrace.views.pictures.scene import Axis

ROUND = (1, 2, 5, 10)
"""What the distance of two ticks is a power of ten times of."""


def ticks(axis: Axis, most: int) -> Sequence[tuple[float, str]]:
    """Return where an axis has ticks, about so many at most, and what stands at them.

    >>> ticks(Axis("w1", -0.13, 0.64), 3)
    [(0.0, '0'), (0.5, '0.5')]
    >>> ticks(Axis("loss", 3e-5, 2.0, is_logarithmic=True), 3)
    [(0.0001, '0.0001'), (0.01, '0.01'), (1.0, '1')]
    """
    if axis.ticks:
        return axis.ticks[:: -(-len(axis.ticks) // most)]
    if axis.is_logarithmic:
        powers = _powers(axis, most)
        if len(powers) > 1:
            return [(x, f"{x:g}") for x in powers]
    return _even(axis, most)


def _powers(axis: Axis, most: int) -> list[float]:
    low, high = math.ceil(math.log10(axis.low)), math.floor(math.log10(axis.high))
    stride = max(1, -(-(high - low + 1) // most))
    return [float(f"1e{k}") for k in range(low, high + 1) if k % stride == 0]


def _even(axis: Axis, most: int) -> list[tuple[float, str]]:
    least = (axis.high - axis.low) / most
    power = math.floor(math.log10(least))
    distance = next(r * 10.0**power for r in ROUND if r * 10.0**power >= least * (1 - 1e-9))
    if axis.label.startswith("step"):
        distance = max(1.0, distance)
    first, last = math.ceil(axis.low / distance - 1e-9), math.floor(axis.high / distance + 1e-9)
    numbers = [k * distance for k in range(first, last + 1)]
    largest = max(map(abs, numbers), default=distance)
    digits = max(
        1, math.floor(math.log10(max(largest, distance)) + 1e-9) - math.floor(math.log10(distance)) + 1
    )
    return [(x, f"{x:,.0f}" if _is_whole(distance, largest) else f"{x:.{digits}g}") for x in numbers]


def _is_whole(distance: float, largest: float) -> bool:
    return distance >= 1 and largest < 1e6
