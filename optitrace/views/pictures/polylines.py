"""Lines ready to be drawn: thinned, cut at the edges, and marked where they leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from optitrace.views.pictures.scene import Axis, Kind, Line, Mark, Position, Stroke

MOST_DOTS = 60
"""A curve over more steps has none of them as a dot."""

WHOLE = 500
"""A path of no more points has every one of them drawn."""

APART = (0.25, 0.08)
"""How far apart two texts must be to be read, across and up, as shares of the panel."""

FARTHEST = 1e6
"""How many panels away a point may be before the direction to it is all that counts."""

TOLERANCE = 1 / 800
"""How far, as a share of the panel, a step that is left out of a path may be from one that is kept."""

MOST_POINTS = 6_000
"""How many steps of a path are kept at most."""

PIXEL_COLUMNS = 700
"""Into how many columns a curve is divided; of each, at most four of its points are kept."""


@dataclass(frozen=True, slots=True)
class Course:
    """Where a run goes, before it is made fit for a panel.

    Attributes:
        name: what the legend calls it; empty if it is the only one.
        steps: the step of each point.
        points: the points, in the units of the axes; they may lie anywhere.
    """

    name: str
    steps: Sequence[int]
    points: Sequence[Position]


def paths(courses: Sequence[Course], across: Axis, up: Axis) -> tuple[tuple[Line, ...], tuple[Mark, ...]]:
    """Return paths through a plane, each up to where it leaves for good, and the marks of their ends."""

    def thinned(course: Course) -> Sequence[int]:
        if len(course.points) <= WHOLE:
            return range(len(course.points))
        return thinned_path([(across.share(x), up.share(y)) for x, y in course.points])

    return _fitted(courses, across, up, thinned, lambda course: True)


def curves(courses: Sequence[Course], across: Axis, up: Axis) -> tuple[tuple[Line, ...], tuple[Mark, ...]]:
    """Return curves, ascending across, each up to where it leaves for good, and the marks of their ends."""

    def thinned(course: Course) -> Sequence[int]:
        return thinned_curve([x for x, _ in course.points], [y for _, y in course.points])

    return _fitted(courses, across, up, thinned, lambda course: max(course.steps, default=0) <= MOST_DOTS)


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
        piece = _crossing(before, here) if before else None
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


def _fitted(
    courses: Sequence[Course],
    across: Axis,
    up: Axis,
    thinned: Callable[[Course], Sequence[int]],
    has_dots: Callable[[Course], bool],
) -> tuple[tuple[Line, ...], tuple[Mark, ...]]:
    lines, marks = [], []
    for number, course in enumerate(courses):
        inside = [k for k, (x, y) in enumerate(course.points) if _holds(across, x) and _holds(up, y)]
        gone = inside[-1] + 1 if inside else 0
        seen = Course(course.name, course.steps[: gone + 1], course.points[: gone + 1])
        kept = thinned(seen)
        strokes = cut([seen.steps[k] for k in kept], [seen.points[k] for k in kept], across, up)
        lines.append(Line(course.name, strokes, has_dots(course)))
        if inside and gone < len(course.points):
            marks += _end(strokes[-1], course.steps[gone], course.points[gone], up, number)
    return tuple(lines), tuple(_readable(marks, across, up))


def _holds(axis: Axis, value: float) -> bool:
    return axis.low <= value <= axis.high


def _end(last: Stroke, step: int, gone: Position, up: Axis, number: int) -> list[Mark]:
    """Return the mark of a line that leaves; none where it falls to zero, which no logarithm reaches."""
    if up.is_logarithmic and gone[1] <= 0:
        return []
    if all(map(math.isfinite, gone)):
        return [Mark(Kind.LEAVES, last.points[-1], f"step {step}", number)]
    # which step that is depends on the quantity, and the notes of a scene say it
    return [Mark(Kind.NON_FINITE, last.points[-1], line=number)]


def _readable(marks: Iterable[Mark], across: Axis, up: Axis) -> Iterator[Mark]:
    """Yield marks, without the text of those that would be written over another's."""
    written: list[Position] = []
    for mark in marks:
        at = across.share(mark.at[0]), up.share(mark.at[1])
        if mark.text and any(abs(at[0] - x) < APART[0] and abs(at[1] - y) < APART[1] for x, y in written):
            yield replace(mark, text="")
            continue
        if mark.text:
            written.append(at)
        yield mark


def _bounded(share: float) -> float:
    return share if math.isnan(share) else max(-FARTHEST, min(FARTHEST, share))


def _crossing(a: Position, b: Position) -> tuple[float, float] | None:
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


def _is_inside(share: Position) -> bool:
    return all(0 <= s <= 1 for s in share)


def _at(a: Position, b: Position, share: float, across: Axis, up: Axis) -> Position:
    x, y = (p + share * (q - p) for p, q in zip(a, b, strict=True))
    return (across.at(min(max(x, 0.0), 1.0)), up.at(min(max(y, 0.0), 1.0)))


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
