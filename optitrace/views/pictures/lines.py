"""Lines ready to be drawn: thinned, cut at the edges, and marked where they leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from optitrace.views.pictures.clipping import cut
from optitrace.views.pictures.scene import Axis, Kind, Line, Mark, Position, Stroke
from optitrace.views.pictures.thinning import thinned_curve, thinned_path

MOST_DOTS = 60
"""A curve over more steps has none of them as a dot."""

WHOLE = 500
"""A path of no more points has every one of them drawn."""


APART = (0.25, 0.08)
"""How far apart two texts must be to be read, across and up, as shares of the panel."""


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


def _end(last: Stroke, step: int, gone: Position, up: Axis, number: int) -> list[Mark]:
    """Return the mark of a line that leaves; none where it falls to zero, which no logarithm reaches."""
    if up.is_logarithmic and gone[1] <= 0:
        return []
    if all(map(math.isfinite, gone)):
        return [Mark(Kind.LEAVES, last.points[-1], f"step {step}", number)]
    # which step that is depends on the quantity, and the notes of a scene say it
    return [Mark(Kind.NON_FINITE, last.points[-1], line=number)]


def _holds(axis: Axis, value: float) -> bool:
    return axis.low <= value <= axis.high
