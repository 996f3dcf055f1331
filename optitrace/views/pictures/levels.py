"""The level lines of a loss."""

from __future__ import annotations

import math

from optitrace.analysis.loss_grid import LossGrid
from optitrace.views.pictures.scene import Contour

COUNT = 12
"""How many level lines there are."""


def contour(terrain: LossGrid) -> Contour:
    """Return a terrain of two coordinates with its level lines.

    Line k of n is where the share (k/n)² of the picture lies lower: for a bowl, at equal distances; for
    a narrow valley, as many inside it as on its walls, where equal differences of the loss would show
    the walls alone.
    """
    across, up = terrain.axes
    values = sorted(loss for row in terrain.losses for loss in row if math.isfinite(loss))
    levels: list[float] = []
    for k in range(1, COUNT + 1):
        if not values:
            break
        level = values[min(int(len(values) * ((k - 0.5) / COUNT) ** 2), len(values) - 1)]
        if level > (levels[-1] if levels else values[0]):
            levels.append(level)
    return Contour(across, up, terrain.losses, tuple(levels))
