"""A scene as lines of characters: its panels beside or under one another, and their legend."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

from rich.text import Text

from optitrace.views.display import Display
from optitrace.views.pictures.canvas import (
    SOFT,
    STRONG,
    Canvas,
    Cell,
    Ink,
    Signs,
    line_color,
    signs_of_terminal,
)
from optitrace.views.pictures.polylines import MOST_DOTS
from optitrace.views.pictures.scene import (
    Axis,
    Cells,
    Contour,
    Kind,
    Line,
    Mark,
    Panel,
    Position,
    Scene,
    Stroke,
)

USUAL_WIDTH = 80
"""Characters of a line where nothing says how many there are."""

WIDEST = 100
"""Characters across of a picture at most, so that it is seen at one glance."""

SIDE_BY_SIDE = 70
"""Characters across from which a square panel has others beside it."""

LOW, HIGH = 6, 12
"""Lines of a panel that stands under others, and of one that stands alone."""

LEAST = 8
"""Characters across of a panel at least."""

GAP = 2
"""Characters between two panels, and between two entries of a legend."""

AROUND = 4
"""Lines of a panel that are not between its axes: names of the axes, the axis across and its ticks."""

TICK_ROWS = 4
"""Lines from tick to tick of the axis upwards, about."""

TICK_COLUMNS = 9
"""Characters from tick to tick of the axis across, about."""

WIDEST_CELL = 3
"""Characters across of a cell of a heat map at most."""

ROOM = 2
"""Characters at least from step to step of the only line, where steps have signs."""

WIDE_ROOM = 10
"""Characters at least from sign to sign of one of several lines."""

ROOM_A_LEVEL = 5
"""Dots upwards, so far apart, for each contour line; of more lines every second is left out, or more."""

COARSE = 2
"""Dots from one to the next of a contour line, which so is fainter than a path."""

ROUND = (1, 2, 5, 10)
"""What the distance of two ticks is a power of ten times of."""


def plot(scene: Scene, display: Display) -> Text:
    """Return the panels of a scene and their legend; what is said above and below is left to a table.

    Args:
        scene: what to draw.
        display: what there is room for; `USUAL_WIDTH` if it does not say.
    """
    signs = signs_of_terminal(display)
    room = min(display.width or USUAL_WIDTH, WIDEST)
    squares = [panel for panel in scene.panels if panel.is_square]
    others = [panel for panel in scene.panels if not panel.is_square]
    if squares and others and room >= SIDE_BY_SIDE:
        lines = _beside(squares[0], others, room, signs)
    else:
        rows = LOW if len(others) > 1 else HIGH
        lines = [line for panel in squares for line in _square(panel, room, signs)]
        lines += _stacked(others, room, rows, signs)
    return Text("\n").join([*lines, *_legend(scene.panels, room, signs)])


def margin(panel: Panel, rows: int) -> int:
    """Return how many characters the axis upwards of a panel needs, with what stands at its ticks."""
    return max((len(label) for _, label in _ticks_up(panel, rows)), default=0) + 2


def _beside(square: Panel, others: Sequence[Panel], room: int, signs: Signs) -> list[Text]:
    """Return a square panel with the others to its right, one under another."""
    left = _square(square, (room - GAP) // 2, signs)
    widest = max(line.cell_len for line in left)
    rows = max(len(left) // len(others) - AROUND, LOW // 2)
    right = _stacked(others, room - GAP - widest, rows, signs)
    lines = []
    for line, beside in zip_longest(left, right, fillvalue=Text()):
        padded = line.copy()
        padded.pad_right(widest + GAP - line.cell_len)
        lines.append(padded.append_text(beside))
    return lines


def _square(panel: Panel, room: int, signs: Signs) -> list[Text]:
    """Return a panel that is as high as it is wide: a character is twice as high."""
    left = margin(panel, room // 2)
    rows = max(room - left, LEAST) // 2
    return _draw_panel(panel, _Size(2 * rows, rows, left), signs)


def _draw_panel(panel: Panel, size: _Size, signs: Signs) -> list[Text]:
    canvas = Canvas(size.columns, size.rows, has_braille=signs.has_braille)
    _draw_layers(canvas, panel, signs)
    at = {canvas.cell((0.0, panel.up.share(x)))[1]: label for x, label in _ticks_up(panel, size.rows)}
    drawn = [Text.assemble((_named(panel.up, panel.title), SOFT))]
    for row, inside in enumerate(canvas.lines()):
        axis = signs.upright[row in at]
        line = Text(f"{at.get(row, ''):>{size.margin - 2}} ").append(axis, SOFT)
        drawn.append(line.append_text(inside))
    return [*drawn, *_below(panel.across, canvas, size.margin, signs)]


@dataclass(frozen=True, slots=True)
class _Size:
    """How large a panel is drawn.

    Attributes:
        columns: characters between the ends of the axis across.
        rows: lines between the ends of the axis upwards.
        margin: characters to the left of that.
    """

    columns: int
    rows: int
    margin: int

    def holding(self, cells: Cells | None) -> _Size:
        """Return the size for a heat map: a line for each of its rows, and cells that are equally wide."""
        if cells is None:
            return self
        across = len(cells.rows[0])
        columns = across * min(self.columns // across, WIDEST_CELL) or self.columns
        return replace(self, columns=columns, rows=len(cells.rows))


def _draw_layers(canvas: Canvas, panel: Panel, signs: Signs) -> None:
    """Draw the ground of a panel, its limits, its lines with their signs, and its marks."""
    if panel.cells is not None:
        _draw_cells(canvas, panel.cells, signs)
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


def _draw_cells(canvas: Canvas, cells: Cells, signs: Signs) -> None:
    """Shade each character by the least number of the cells that it stands for."""
    across = len(cells.rows[0])
    for row, numbers in enumerate(reversed(cells.rows)):
        for column in range(canvas.columns):
            first, end = (k * across // canvas.columns for k in (column, column + 1))
            known = [x for x in numbers[first : max(end, first + 1)] if not math.isnan(x)]
            if known:
                canvas.shade((column, row), _shade(cells, min(known), signs))


def _shade(cells: Cells, number: float, signs: Signs) -> str:
    if number == math.inf:
        return signs.kinds[Kind.DIVERGED]
    share = (cells.high - number) / (cells.high - cells.low) if cells.high > cells.low else 0.0
    return signs.shades[min(int(share * len(signs.shades)), len(signs.shades) - 1)]


def _draw_contour(canvas: Canvas, contour: Contour, signs: Signs) -> None:
    """Draw the contour lines: a dot where the next one to the right or below lies between other levels."""
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


def _draw(canvas: Canvas, panel: Panel, strokes: Sequence[Stroke], ink: Ink) -> None:
    for stroke in strokes:
        shares = [_share(panel, point) for point in stroke.points]
        for a, b in pairwise(shares):
            canvas.line(a, b, ink)
        if len(shares) == 1:
            canvas.line(shares[0], shares[0], ink)


def _share(panel: Panel, point: Position) -> Position:
    return panel.across.share(point[0]), panel.up.share(point[1])


def _sign_line(canvas: Canvas, panel: Panel, line: Line, number: int, signs: Signs) -> None:
    """Set signs along a line: its steps where it is the only one, else what tells it from the others."""
    steps = [_share(panel, point) for stroke in line.strokes for point in stroke.dots]
    if len(panel.lines) > 1:
        for at in _apart(canvas, steps, WIDE_ROOM):
            canvas.sign(at, signs.line(number), line_color(number))
    elif line.has_dots and len(steps) <= MOST_DOTS:
        for at in _apart(canvas, steps, ROOM):
            canvas.sign(at, signs.step, line_color(number))
    if _has_end(panel) and steps:
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


def _has_end(panel: Panel) -> bool:
    """Return whether a panel has a single path whose end is marked, and no other marks."""
    is_alone = panel.is_square and len(panel.lines) == 1
    return is_alone and all(mark.line is None for mark in panel.marks)


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


def _ticks_up(panel: Panel, rows: int) -> Sequence[tuple[float, str]]:
    return _tick_places(panel.up, max(2, rows // TICK_ROWS + 1))


def _tick_places(axis: Axis, most: int) -> Sequence[tuple[float, str]]:
    """Return where an axis has ticks, about so many at most, and what stands at them.

    >>> _tick_places(Axis("w1", -0.13, 0.64), 3)
    [(0.0, '0'), (0.5, '0.5')]
    >>> _tick_places(Axis("loss", 3e-5, 2.0, is_logarithmic=True), 3)
    [(0.0001, '0.0001'), (0.01, '0.01'), (1.0, '1')]
    """
    if axis.ticks:
        return axis.ticks[:: -(-len(axis.ticks) // most)]
    if axis.is_logarithmic:
        powers = _powers(axis, most)
        if len(powers) > 1:
            return [(x, f"{x:g}") for x in powers]
    return _even(axis, most)


def _powers(axis: Axis, most: int) -> list[float]:
    low, high = math.ceil(math.log10(axis.low)), math.floor(math.log10(axis.high))
    stride = max(1, -(-(high - low + 1) // most))
    return [float(f"1e{k}") for k in range(low, high + 1) if k % stride == 0]


def _even(axis: Axis, most: int) -> list[tuple[float, str]]:
    least = (axis.high - axis.low) / most
    power = math.floor(math.log10(least))
    distance = next(r * 10.0**power for r in ROUND if r * 10.0**power >= least * (1 - 1e-9))
    if axis.label.startswith("step"):
        distance = max(1.0, distance)
    first, last = math.ceil(axis.low / distance - 1e-9), math.floor(axis.high / distance + 1e-9)
    numbers = [k * distance for k in range(first, last + 1)]
    largest = max(map(abs, numbers), default=distance)
    digits = max(
        1, math.floor(math.log10(max(largest, distance)) + 1e-9) - math.floor(math.log10(distance)) + 1
    )
    return [(x, f"{x:,.0f}" if _is_whole(distance, largest) else f"{x:.{digits}g}") for x in numbers]


def _is_whole(distance: float, largest: float) -> bool:
    return distance >= 1 and largest < 1e6


def _named(axis: Axis, title: str = "") -> str:
    name = f"{axis.label} (log)" if axis.is_logarithmic else axis.label
    return f"{title}: {name}" if title else name


def _below(axis: Axis, canvas: Canvas, margin: int, signs: Signs) -> list[Text]:
    """Return the axis across, its ticks, and its name."""
    rule = [signs.flat[0]] * canvas.columns
    said = " " * (margin + canvas.columns)
    end = 0
    for x, label in _tick_places(axis, max(2, canvas.columns // TICK_COLUMNS + 1)):
        column = canvas.cell((axis.share(x), 0.0))[0]
        begin = min(max(margin + column - len(label) // 2, 0), len(said) - len(label))
        if begin >= end:
            rule[column] = signs.flat[1]
            said = f"{said[:begin]}{label}{said[begin + len(label) :]}"
            end = begin + len(label) + 1
    drawn = f"{signs.flat[2]:>{margin}}{''.join(rule)}"
    name = f"{'':{margin}}{_named(axis):^{canvas.columns}}"
    return [Text.assemble((drawn, SOFT)), Text(said.rstrip()), Text.assemble((name.rstrip(), SOFT))]


def _stacked(panels: Sequence[Panel], room: int, rows: int, signs: Signs) -> list[Text]:
    """Return panels one under another, their axes upwards in one line."""
    left = max((margin(panel, rows) for panel in panels), default=0)
    size = _Size(max(room - left, LEAST), rows, left)
    return [line for panel in panels for line in _draw_panel(panel, size.holding(panel.cells), signs)]


def _legend(panels: Sequence[Panel], room: int, signs: Signs) -> list[Text]:
    """Return what the signs stand for, those that occur."""
    entries: dict[str, Text] = {}
    for panel in panels:
        for number, line in enumerate(panel.lines):
            if line.name:
                sign = (signs.line(number), line_color(number))
                entries.setdefault(line.name, Text.assemble(sign, f" {line.name}"))
        if panel.cells is not None:
            entries |= _legend_of_cells(panel.cells, signs)
        for limit in panel.limits:
            entries.setdefault(limit.name, Text(f"{signs.upright[0]} {limit.name}"))
        for mark in panel.marks:
            entries.setdefault(mark.kind, Text(f"{signs.kinds[mark.kind]} {mark.kind}"))
        if _has_end(panel):
            entries.setdefault("end", Text(f"{signs.end} end"))
    lines: list[Text] = []
    for entry in entries.values():
        if lines and lines[-1].cell_len + GAP + entry.cell_len <= room:
            lines[-1].append(" " * GAP).append_text(entry)
        else:
            lines.append(entry)
    return lines


def _legend_of_cells(cells: Cells, signs: Signs) -> dict[str, Text]:
    """Return what the lightest and the darkest shade stand for, and that some cells diverged."""
    low, high = (f"{cells.label} {cells.number(x):.2g}" for x in (cells.low, cells.high))
    if cells.is_cut:
        low += " or less"
    found = {high: Text(f"{signs.shades[0]} {high}"), low: Text(f"{signs.shades[-1]} {low}")}
    if cells.has_diverged:
        found[Kind.DIVERGED] = Text(f"{signs.kinds[Kind.DIVERGED]} {Kind.DIVERGED}")
    return found
