"""Cutting a line at the edge of its panel, so that nothing is drawn outside of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optitrace.views.pictures.scene import Axis, Position, Stroke

FARTHEST = 1e6
"""How many panels away a point may be before the direction to it is all that counts."""


def cut(steps: Sequence[int], points: Sequence[Position], across: Axis, up: Axis) -> tuple[Stroke, ...]:
    """Return a line as the strokes of it that lie between the axes.

    A point that is not a number breaks the line. Two points outside with nothing of the panel between
    them leave nothing; where the line between them crosses the panel, it is drawn.

    Args:
        steps: the step of each point.
        points: the points, in the units of the axes; they may lie anywhere.
        across: the axis from left to right.
        up: the axis upwards.
    """
    shares = [(_bounded(across.share(x)), _bounded(up.share(y))) for x, y in points]
    found: list[Stroke] = []
    open_steps: list[int] = []
    open_points: list[Position] = []
    begins_cut = False

    def close(*, ends_cut: bool) -> None:
        nonlocal begins_cut
        if open_points:
            found.append(Stroke(tuple(open_steps), tuple(open_points), begins_cut, ends_cut))
        open_steps.clear()
        open_points.clear()
        begins_cut = False

    for k, here in enumerate(shares):
        before = shares[k - 1] if k else None
        piece = _inside(before, here) if before else None
        if piece is None or before is None:
            close(ends_cut=False)
            if _is_inside(here):
                open_steps.append(steps[k])
                open_points.append(points[k])
            continue
        begin, end = piece
        if not _is_inside(before):
            close(ends_cut=False)
            begins_cut = True
            open_steps.append(steps[k - 1])
            open_points.append(_at(before, here, begin, across, up))
        open_steps.append(steps[k])
        if _is_inside(here):
            open_points.append(points[k])
        else:
            open_points.append(_at(before, here, end, across, up))
            close(ends_cut=True)
    close(ends_cut=False)
    return tuple(found)


def _bounded(share: float) -> float:
    return share if math.isnan(share) else max(-FARTHEST, min(FARTHEST, share))


def _is_inside(share: Position) -> bool:
    return all(0 <= s <= 1 for s in share)


def _inside(a: Position, b: Position) -> tuple[float, float] | None:
    """Return between which shares of the way from a to b it lies within the unit square (Liang & Barsky)."""
    begin, end = 0.0, 1.0
    for p, q in zip(a, b, strict=True):
        if math.isnan(p) or math.isnan(q):
            return None
        for distance, room in ((p - q, p), (q - p, 1 - p)):
            if distance == 0:
                if room < 0:
                    return None
            elif distance > 0:
                end = min(end, room / distance)
            else:
                begin = max(begin, room / distance)
    return (begin, end) if begin < end or (begin == end and _is_inside(b)) else None


def _at(a: Position, b: Position, share: float, across: Axis, up: Axis) -> Position:
    x, y = (p + share * (q - p) for p, q in zip(a, b, strict=True))
    return (across.at(min(max(x, 0.0), 1.0)), up.at(min(max(y, 0.0), 1.0)))
