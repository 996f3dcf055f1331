"""Thinning: leaving out of a long line what could not be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optitrace.views.pictures.scene import Position

TOLERANCE = 1 / 800
"""How far, as a share of the panel, a step that is left out of a path may be from one that is kept."""

MOST_POINTS = 6_000
"""How many steps of a path are kept at most."""

PIXEL_COLUMNS = 700
"""Into how many columns a curve is divided; of each, at most four of its points are kept."""


def thinned_path(shares: Sequence[Position], most: int = MOST_POINTS) -> list[int]:
    """Return which points of a path are kept: each that is farther than the tolerance from the last kept.

    So the shape is kept to within the tolerance, whatever the path does. Of a path that runs to and fro
    for so long that too many would be left, the first point in each cell of a grid is kept, whose cells
    are as coarse as need be: wherever the path has been, it is still seen to have been. The first and the
    last point are kept.

    >>> thinned_path([(0.0, 0.0), (1e-4, 0.0), (2e-3, 0.0), (2.1e-3, 0.0), (2.2e-3, 0.0)])
    [0, 2, 4]

    Args:
        shares: the points, as shares of the panel.
        most: how many are kept at most.
    """
    kept = _far_apart(shares)
    size = TOLERANCE
    while len(kept) > most:
        kept = _one_a_cell(shares, kept, size)
        size *= 2
    if shares and kept[-1] != len(shares) - 1:
        kept.append(len(shares) - 1)
    return kept


def thinned_curve(xs: Sequence[float], ys: Sequence[float], columns: int = PIXEL_COLUMNS) -> list[int]:
    """Return which points of a curve are kept: the first, the last, the least and the greatest of a column.

    That draws the same pixels as all of them (Jugel et al. 2014, M4). Values that are not a number are
    kept where a column begins or ends with them.

    >>> thinned_curve([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 3, 9, 2, 1, 5, 4, 4, 4, 4], columns=2)
    [0, 2, 4, 5, 6, 9]

    Args:
        xs: ascending.
        ys: as many.
        columns: how many columns of pixels there are.
    """
    if len(xs) <= 4 * columns:
        return list(range(len(xs)))
    width = (xs[-1] - xs[0]) / columns or 1.0
    kept: list[int] = []
    begin = 0
    while begin < len(xs):
        column = min(int((xs[begin] - xs[0]) / width), columns - 1)
        end = begin
        while end < len(xs) and min(int((xs[end] - xs[0]) / width), columns - 1) == column:
            end += 1
        rows = range(begin, end)
        finite = [k for k in rows if not math.isnan(ys[k])]
        least, greatest = (
            (min(finite, key=ys.__getitem__), max(finite, key=ys.__getitem__)) if finite else (begin, begin)
        )
        kept += sorted({begin, least, greatest, end - 1})
        begin = end
    return kept


def _far_apart(shares: Sequence[Position]) -> list[int]:
    kept: list[int] = []
    last = (math.inf, math.inf)
    for k, (x, y) in enumerate(shares):
        # the negation keeps what is not a number, which breaks the line
        if not math.hypot(x - last[0], y - last[1]) <= TOLERANCE:
            kept.append(k)
            last = (x, y)
    return kept


def _one_a_cell(shares: Sequence[Position], kept: Sequence[int], size: float) -> list[int]:
    cells: dict[tuple[float, float], int] = {}
    for k in kept:
        x, y = (math.floor(s / size) if math.isfinite(s) else 0 for s in shares[k])
        cells.setdefault((x, y), k)
    return list(cells.values())
