"""What the two pictures of a sweep share: the columns that fit, the marks, and the line below."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from optitrace.analysis.sweeping.loss_map import LossMap

USUAL_WIDTH = 80
"""Characters of a line where nothing says how many there are."""

WIDEST_CELL = 3
"""Characters of a column of a picture that has few."""

DECADES = 16
"""Decades below the highest loss beyond which losses are drawn alike: the digits of float64."""


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


def marks(*, ascii_only: bool) -> Marks:
    """Return the signs that can be shown."""
    return ASCII_MARKS if ascii_only else UNICODE_MARKS


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


def _least(losses: Sequence[float]) -> float:
    return min((x for x in losses if not math.isnan(x)), default=math.nan)


def _logarithm(loss: float, floor: float) -> float:
    if math.isnan(loss) or loss == math.inf:
        return loss
    return math.log10(max(loss, floor, sys.float_info.min))


def _column(place: float, merged: int, columns: int) -> int | None:
    """Return the first column that lies beyond a place among the bins; None if it lies outside."""
    if math.isnan(place):
        return None
    column = math.floor(place) // merged + 1 if place >= 0 else -1
    return column if 0 < column < columns else None
