"""The curve of a sweep over one number: the final loss, on a logarithmic scale."""

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
    legend,
    make_frame,
    marks,
)

HEIGHT = 12
"""Lines of a curve."""

TITLE = "final loss (log)"


def curve_lines(landscape: LossMap, *, width: int | None = None, ascii_only: bool = False) -> list[str]:
    """Return a curve, line by line."""
    signs = marks(ascii_only=ascii_only)
    whole = make_frame(landscape, 1000)
    low, high = map(exponent, whole.finite)
    if whole.is_cut:
        low = f"{'<=' if ascii_only else '≤'} {low}"
    margin = max(len(low), len(high)) + 1
    frame = make_frame(landscape, (width or USUAL_WIDTH) - margin)
    labels = {HEIGHT - 1: high, 0: low}
    rows = [
        f"{labels.get(line, ''):>{margin - 1}} {_line(frame, line, signs)}".rstrip()
        for line in reversed(range(HEIGHT))
    ]
    told = wrap(", ".join(legend(frame, signs)), width or USUAL_WIDTH)
    return [TITLE, *rows, *axis_lines(landscape, frame, margin), *told]


def _line(frame: Frame, line: int, signs: Marks) -> str:
    cells = []
    for column, loss in enumerate(frame.losses[0]):
        sign = " "
        if column == frame.limits[0]:
            sign = signs.limit
        if _height(frame, loss) == line:
            is_best = frame.best is not None and column == frame.best[0]
            sign = signs.diverged if loss == math.inf else signs.best if is_best else signs.point
        cells.append(sign.ljust(frame.cell))
    return "".join(cells)


def _height(frame: Frame, loss: float) -> int | None:
    if math.isnan(loss):
        return None
    low, high = frame.finite
    if loss == math.inf or high == low:
        return HEIGHT - 1
    return round((loss - low) / (high - low) * (HEIGHT - 1))
