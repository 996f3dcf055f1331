"""The heat map of a sweep over two numbers: the darker the sign, the lower the loss."""

from __future__ import annotations

import math
from textwrap import wrap

from optitrace.analysis.sweeping.loss_map import LossMap
from optitrace.views.sweep_picture import (
    USUAL_WIDTH,
    Frame,
    Marks,
    axis_lines,
    exponent,
    least_label,
    legend,
    make_frame,
    marks,
)


def map_lines(landscape: LossMap, *, width: int | None = None, ascii_only: bool = False) -> list[str]:
    """Return a heat map, line by line."""
    assert landscape.up is not None
    signs = marks(ascii_only=ascii_only)
    labels = [f"{landscape.up.middle(row):.4g}" for row in range(landscape.up.bins)]
    margin = max(map(len, labels)) + 1
    frame = make_frame(landscape, (width or USUAL_WIDTH) - margin)
    rows = [
        f"{label:>{margin - 1}} {_row(frame, row, signs)}".rstrip()
        for row, label in reversed(list(enumerate(_thinned(labels))))
    ]
    name = landscape.up.axis.name + (" (log)" if landscape.up.is_logarithmic else "")
    shades = (
        f"final loss {signs.shades[0]} {exponent(frame.finite[1])} to {signs.shades[-1]} {least_label(frame)}"
    )
    told = wrap(", ".join([shades, *legend(frame, signs)]), width or USUAL_WIDTH, break_long_words=False)
    return [name, *rows, *axis_lines(landscape, frame, margin), *told]


def _row(frame: Frame, row: int, signs: Marks) -> str:
    cells = []
    for column, loss in enumerate(frame.losses[row]):
        if (column, row) == frame.best:
            cells.append(signs.best.ljust(frame.cell, _shade(frame, loss, signs)))
        elif column == frame.limits[row]:
            cells.append(signs.limit.ljust(frame.cell, _shade(frame, loss, signs)))
        else:
            cells.append(_shade(frame, loss, signs) * frame.cell)
    return "".join(cells)


def _shade(frame: Frame, loss: float, signs: Marks) -> str:
    if math.isnan(loss):
        return " "
    if loss == math.inf:
        return signs.diverged
    low, high = frame.finite
    share = (high - loss) / (high - low) if high > low else 0.0
    return signs.shades[min(int(share * len(signs.shades)), len(signs.shades) - 1)]


def _thinned(labels: list[str]) -> list[str]:
    """Return the labels of some rows, the first and the last among them, and empty ones for the others."""
    step = max(1, len(labels) // 6)
    last = len(labels) - 1
    return [
        label if row == last or (row % step == 0 and last - row >= step) else ""
        for row, label in enumerate(labels)
    ]
