"""One panel of a scene, layer by layer, with its axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from optitrace.views.pictures.characters.canvas import Canvas
from optitrace.views.pictures.characters.layers import draw_layers
from optitrace.views.pictures.characters.theme import SOFT, Signs
from optitrace.views.pictures.characters.ticks import ticks
from optitrace.views.pictures.scene import Axis, Panel

AROUND = 4
"""Lines of a panel that are not between its axes: names of the axes, the axis across and its ticks."""

TICK_ROWS = 4
"""Lines from tick to tick of the axis upwards, about."""

TICK_COLUMNS = 9
"""Characters from tick to tick of the axis across, about."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a panel is drawn.

    Attributes:
        columns: characters between the ends of the axis across.
        rows: lines between the ends of the axis upwards.
        margin: characters to the left of that.
    """

    columns: int
    rows: int
    margin: int


def margin(panel: Panel, rows: int) -> int:
    """Return how many characters the axis upwards of a panel needs, with what stands at its ticks."""
    return max((len(label) for _, label in _ticks_up(panel, rows)), default=0) + 2


def draw_panel(panel: Panel, size: Size, signs: Signs) -> list[Text]:
    """Return a panel, line by line."""
    canvas = Canvas(size.columns, size.rows, has_braille=signs.has_braille)
    draw_layers(canvas, panel, signs)
    at = {canvas.cell((0.0, panel.up.share(x)))[1]: label for x, label in _ticks_up(panel, size.rows)}
    drawn = [Text.assemble((_named(panel.up, panel.title), SOFT))]
    for row, inside in enumerate(canvas.lines()):
        axis = signs.upright[row in at]
        line = Text(f"{at.get(row, ''):>{size.margin - 2}} ").append(axis, SOFT)
        drawn.append(line.append_text(inside))
    return [*drawn, *_below(panel.across, canvas, size.margin, signs)]


def _ticks_up(panel: Panel, rows: int) -> Sequence[tuple[float, str]]:
    return ticks(panel.up, max(2, rows // TICK_ROWS + 1))


def _below(axis: Axis, canvas: Canvas, margin: int, signs: Signs) -> list[Text]:
    """Return the axis across, its ticks, and its name."""
    rule = [signs.flat[0]] * canvas.columns
    said = " " * (margin + canvas.columns)
    end = 0
    for x, label in ticks(axis, max(2, canvas.columns // TICK_COLUMNS + 1)):
        column = canvas.cell((axis.share(x), 0.0))[0]
        begin = min(max(margin + column - len(label) // 2, 0), len(said) - len(label))
        if begin >= end:
            rule[column] = signs.flat[1]
            said = f"{said[:begin]}{label}{said[begin + len(label) :]}"
            end = begin + len(label) + 1
    drawn = f"{signs.flat[2]:>{margin}}{''.join(rule)}"
    name = f"{'':{margin}}{_named(axis):^{canvas.columns}}"
    return [Text.assemble((drawn, SOFT)), Text(said.rstrip()), Text.assemble((name.rstrip(), SOFT))]


def _named(axis: Axis, title: str = "") -> str:
    name = f"{axis.label} (log)" if axis.is_logarithmic else axis.label
    return f"{title}: {name}" if title else name
