"""What is between the axes of a panel, from back to front."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from optitrace.views.pictures.characters.canvas import Canvas, Cell, Ink
from optitrace.views.pictures.characters.theme import SOFT, STRONG, Signs, line_color
from optitrace.views.pictures.lines import MOST_DOTS
from optitrace.views.pictures.scene import Contour, Kind, Line, Mark, Panel, Position, Stroke

ROOM = 2
"""Characters at least from step to step of the only line, where steps have signs."""

WIDE_ROOM = 10
"""Characters at least from sign to sign of one of several lines."""

ROOM_A_LEVEL = 5
"""Dots upwards, so far apart, for each level line; of more level lines every second is left out, or more."""

COARSE = 2
"""Dots from one to the next of a level line, which so is fainter than a path."""


def draw_layers(canvas: Canvas, panel: Panel, signs: Signs) -> None:
    """Draw the ground of a panel, its limits, its lines with their signs, and its marks."""
    if panel.contour is not None:
        _draw_contour(canvas, panel.contour, signs)
    _draw(canvas, panel, panel.ground, Ink(SOFT, signs.level))
    for limit in panel.limits:
        _draw(canvas, panel, limit.strokes, Ink(STRONG, signs.upright[0]))
    for number, line in enumerate(panel.lines):
        _draw(canvas, panel, line.strokes, Ink(line_color(number), signs.line(number)))
    for number, line in enumerate(panel.lines):
        _sign_line(canvas, panel, line, number, signs)
    for mark in panel.marks:
        _draw_mark(canvas, panel, mark, signs)


def has_end(panel: Panel) -> bool:
    """Return whether a panel has a single path whose end is marked, and no other marks."""
    is_alone = panel.is_square and len(panel.lines) == 1
    return is_alone and all(mark.line is None for mark in panel.marks)


def _draw(canvas: Canvas, panel: Panel, strokes: Sequence[Stroke], ink: Ink) -> None:
    for stroke in strokes:
        shares = [_share(panel, point) for point in stroke.points]
        for a, b in pairwise(shares):
            canvas.line(a, b, ink)
        if len(shares) == 1:
            canvas.line(shares[0], shares[0], ink)


def _draw_contour(canvas: Canvas, contour: Contour, signs: Signs) -> None:
    """Draw the level lines: a dot where the next one to the right or below lies between other levels."""
    coarse = COARSE if signs.has_braille else 1
    across, up = canvas.dots_across // coarse, canvas.dots_up // coarse
    skipped = max(1, round(len(contour.levels) * ROOM_A_LEVEL / up))
    levels = contour.levels[skipped - 1 :: skipped]
    columns = [round(x * (len(contour.across) - 1) / (across - 1)) for x in range(across)]
    rows = [round((up - 1 - y) * (len(contour.up) - 1) / (up - 1)) for y in range(up)]
    bands = [[bisect_right(levels, contour.losses[row][column]) for column in columns] for row in rows]
    ink = Ink(SOFT, signs.level)
    for y, (band, below) in enumerate(pairwise([*bands, bands[-1]])):
        for x, (here, beside) in enumerate(pairwise([*band, band[-1]])):
            if here != beside or here != below[x]:
                canvas.dot(x * coarse, y * coarse, ink)


def _sign_line(canvas: Canvas, panel: Panel, line: Line, number: int, signs: Signs) -> None:
    """Set signs along a line: its steps where it is the only one, else what tells it from the others."""
    steps = [_share(panel, point) for stroke in line.strokes for point in stroke.dots]
    if len(panel.lines) > 1:
        for at in _apart(canvas, steps, WIDE_ROOM):
            canvas.sign(at, signs.line(number), line_color(number))
    elif line.has_dots and len(steps) <= MOST_DOTS:
        for at in _apart(canvas, steps, ROOM):
            canvas.sign(at, signs.step, line_color(number))
    if has_end(panel) and steps:
        canvas.sign(steps[-1], signs.end, line_color(number))


def _apart(canvas: Canvas, places: Sequence[Position], room: int) -> list[Position]:
    """Return places from the last one back that are so many characters apart."""
    kept: list[Position] = []
    last: Cell | None = None
    for place in reversed(places):
        column, row = canvas.cell(place)
        if last is None or max(abs(column - last[0]), 2 * abs(row - last[1])) >= room:
            kept.append(place)
            last = column, row
    return kept


def _draw_mark(canvas: Canvas, panel: Panel, mark: Mark, signs: Signs) -> None:
    at = _share(panel, mark.at)
    style = STRONG if mark.line is None else f"{STRONG} {line_color(mark.line)}"
    sign = signs.kinds[mark.kind] if mark.kind is not Kind.LEAVES else signs.arrows[_edge(at)]
    canvas.sign(at, sign, style)
    column, row = canvas.cell(at)
    begin = column + 2 if at[0] < 0.5 else column - 1 - len(mark.text)
    canvas.write((begin, row), mark.text, style)


def _edge(at: Position) -> int:
    """Return which edge is nearest: 0 the upper, 1 the lower, 2 the left, 3 the right one."""
    distances = (1 - at[1], at[1], at[0], 1 - at[0])
    return distances.index(min(distances))


def _share(panel: Panel, point: Position) -> Position:
    return panel.across.share(point[0]), panel.up.share(point[1])
