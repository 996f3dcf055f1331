"""Where the panels of a scene stand: worked out in inches, so that it is the same whatever is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optitrace.views.pictures.scene import Panel

WIDTH = 10.0
"""Inches across."""

EDGE = 0.2
"""Inches that are free around all."""

RIGHT = 0.45
"""Inches on the right of a panel: half of its last tick."""

LEFT = 0.9
"""Inches on the left of a panel: its ticks."""

ABOVE = 0.42
"""Inches above a panel: the name of its axis upwards."""

BELOW = 0.62
"""Inches below a panel: its ticks, and the name of its axis across."""

BAR = 0.95
"""Inches on the right of a heat map: its bar of colours."""

TALL = 3.75
"""Inches that a panel is high that stands alone or beside others."""

LOW = 1.5
"""Inches that a panel is high that stands under another."""


@dataclass(frozen=True, slots=True)
class Box:
    """The rectangle between the axes of a panel, in inches from the lower left corner of all panels."""

    left: float
    bottom: float
    width: float
    height: float


def place(panels: Sequence[Panel]) -> tuple[list[Box], float]:
    """Return where each panel stands, and how many inches all are high, their words included.

    A square panel stands on the left, the others beside it, one under another; heat maps stand two in a
    row.
    """
    maps = [panel for panel in panels if panel.cells is not None]
    if len(maps) == len(panels) and len(panels) > 1:
        return _in_rows(len(panels))
    squares = [k for k, panel in enumerate(panels) if panel.is_square]
    others = [k for k in range(len(panels)) if k not in squares]
    left = LEFT + (TALL + LEFT + 0.1 if squares else 0.0)
    height = TALL if squares else max(TALL, _stacked(len(others)))
    room = WIDTH - left - (BAR if maps else RIGHT)
    boxes = dict.fromkeys(squares, Box(LEFT, BELOW, TALL, TALL))
    each = (height - (len(others) - 1) * (ABOVE + BELOW)) / max(len(others), 1)
    for row, k in enumerate(reversed(others)):
        boxes[k] = Box(left, BELOW + row * (each + ABOVE + BELOW), room, each)
    return [boxes[k] for k in range(len(panels))], height + ABOVE + BELOW


def _stacked(count: int) -> float:
    """Return how high so many panels are, one under another, with the words between them."""
    return count * LOW + (count - 1) * (ABOVE + BELOW)


def _in_rows(count: int) -> tuple[list[Box], float]:
    rows = -(-count // 2)
    width = (WIDTH - EDGE) / 2
    high = TALL * 0.75 + ABOVE + BELOW
    boxes = [
        Box(LEFT + (k % 2) * width, (rows - 1 - k // 2) * high + BELOW, width - LEFT - BAR, TALL * 0.75)
        for k in range(count)
    ]
    return boxes, rows * high
