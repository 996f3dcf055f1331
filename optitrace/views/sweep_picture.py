"""The picture of a sweep in characters: a curve over one number, a heat map over two."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from optitrace.analysis.sweeping.loss_map import LossMap
from optitrace.views.display import Display

HEIGHT = 12
"""Lines of a curve."""

TITLE = "final loss (log)"

USUAL_WIDTH = 80
"""Characters of a line where nothing says how many there are."""

WIDEST_CELL = 3
"""Characters of a column of a picture that has few."""

DECADES = 16
"""Decades below the highest loss beyond which losses are drawn alike: the digits of float64."""


def curve_lines(landscape: LossMap, display: Display) -> list[str]:
    """Return a curve, line by line."""
    signs = marks(display)
    whole = make_frame(landscape, 1000)
    low, high = map(exponent, whole.finite)
    if whole.is_cut:
        low = f"{'<=' if display.ascii else '≤'} {low}"
    margin = max(len(low), len(high)) + 1
    frame = make_frame(landscape, (display.width or USUAL_WIDTH) - margin)
    labels = {HEIGHT - 1: high, 0: low}
    rows = [
        f"{labels.get(line, ''):>{margin - 1}} {_line(frame, line, signs)}".rstrip()
        for line in reversed(range(HEIGHT))
    ]
    told = wrap(", ".join(legend(frame, signs)), display.width or USUAL_WIDTH)
    return [TITLE, *rows, *axis_lines(landscape, frame, margin), *told]


def map_lines(landscape: LossMap, display: Display) -> list[str]:
    """Return a heat map, line by line."""
    assert landscape.up is not None
    signs = marks(display)
    labels = [f"{landscape.up.middle(row):.4g}" for row in range(landscape.up.bins)]
    margin = max(map(len, labels)) + 1
    frame = make_frame(landscape, (display.width or USUAL_WIDTH) - margin)
    rows = [
        f"{label:>{margin - 1}} {_row(frame, row, signs)}".rstrip()
        for row, label in reversed(list(enumerate(_thinned(labels))))
    ]
    name = landscape.up.axis.name + (" (log)" if landscape.up.is_logarithmic else "")
    shades = (
        f"final loss {signs.shades[0]} {exponent(frame.finite[1])} to {signs.shades[-1]} {least_label(frame)}"
    )
    told = wrap(
        ", ".join([shades, *legend(frame, signs)]), display.width or USUAL_WIDTH, break_long_words=False
    )
    return [name, *rows, *axis_lines(landscape, frame, margin), *told]


@dataclass(frozen=True, slots=True)
class Marks:
    """The signs of a picture.

    Attributes:
        shades: from the highest loss to the lowest.
        point: a loss in a curve.
        diverged: where every configuration diverged.
        best: the best configuration.
        limit: the stability limit of theory.
    """

    shades: str = "·░▒▓█"
    point: str = "•"
    diverged: str = "×"
    best: str = "◆"
    limit: str = "│"


UNICODE_MARKS = Marks()


ASCII_MARKS = Marks(shades=".:+*#", point="*", diverged="x", best="@", limit="|")


def marks(display: Display) -> Marks:
    """Return the signs that can be shown."""
    return ASCII_MARKS if display.ascii else UNICODE_MARKS


@dataclass(frozen=True, slots=True)
class Frame:
    """A landscape in as many columns as fit.

    Attributes:
        losses: the logarithm to base 10 of the least loss, row by row from the bottom; infinite where
            all diverged, NaN where nothing was run.
        cell: characters of a column.
        best: the column and the row of the best configuration; None if nothing was run.
        limits: for each row the first column beyond the stability limit; None where there is none.
        is_cut: whether some losses are lower than the lowest that is drawn.
    """

    losses: Sequence[Sequence[float]]
    cell: int
    best: tuple[int, int] | None
    limits: Sequence[int | None]
    is_cut: bool

    @property
    def columns(self) -> int:
        """How many columns there are."""
        return len(self.losses[0])

    @property
    def finite(self) -> tuple[float, float]:
        """The least and the greatest finite logarithm; zeros if there is none."""
        found = [x for row in self.losses for x in row if math.isfinite(x)]
        return (min(found), max(found)) if found else (0.0, 0.0)


def make_frame(landscape: LossMap, room: int) -> Frame:
    """Return a landscape in at most `room` characters across."""
    bins = landscape.across.bins
    merged = -(-bins // max(room, 1))
    highest = max((x for row in landscape.losses for x in row if math.isfinite(x)), default=1.0)
    floor = max(highest, sys.float_info.min) * 10.0**-DECADES
    losses = [
        [_logarithm(_least(row[k : k + merged]), floor) for k in range(0, bins, merged)]
        for row in landscape.losses
    ]
    columns = len(losses[0])
    limits = [_column(landscape.across.place(limit), merged, columns) for limit in landscape.limits]
    best = None if landscape.best is None else (landscape.best[0] // merged, landscape.best[1])
    is_cut = any(x < floor for row in landscape.losses for x in row)
    cell = max(1, min(WIDEST_CELL, room // columns))
    return Frame(losses, cell, best, limits or [None] * len(losses), is_cut)


def axis_lines(landscape: LossMap, frame: Frame, margin: int) -> list[str]:
    """Return the line under a picture: the ends of the axis across, and its name between them."""
    first, last = (f"{end:.6g}" for end in landscape.across.ends)
    name = landscape.across.axis.name + (" (log)" if landscape.across.is_logarithmic else "")
    width = frame.columns * frame.cell
    if width >= len(first) + len(name) + len(last) + 4:
        return [" " * margin + first + name.center(width - len(first) - len(last)) + last]
    return [f"{name}: {first} to {last}"]


def legend(frame: Frame, signs: Marks) -> list[str]:
    """Return what the signs stand for, those that occur."""
    parts = [f"{signs.best} best"] if frame.best else []
    if any(limit is not None for limit in frame.limits):
        parts.append(f"{signs.limit} stability limit")
    if any(x == math.inf for row in frame.losses for x in row):
        parts.append(f"{signs.diverged} diverged")
    return parts


def exponent(logarithm: float) -> str:
    """Return a loss of which the logarithm is given, short."""
    return f"{10.0**logarithm:.0e}"


def least_label(frame: Frame) -> str:
    """Return the lowest loss that is drawn, short, and whether it stands for lower ones too."""
    return exponent(frame.finite[0]) + (" or less" if frame.is_cut else "")


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


def _logarithm(loss: float, floor: float) -> float:
    if math.isnan(loss) or loss == math.inf:
        return loss
    return math.log10(max(loss, floor, sys.float_info.min))


def _least(losses: Sequence[float]) -> float:
    return min((x for x in losses if not math.isnan(x)), default=math.nan)


def _column(place: float, merged: int, columns: int) -> int | None:
    """Return the first column that lies beyond a place among the bins; None if it lies outside."""
    if math.isnan(place):
        return None
    column = math.floor(place) // merged + 1 if place >= 0 else -1
    return column if 0 < column < columns else None
