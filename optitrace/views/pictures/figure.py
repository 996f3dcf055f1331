"""A scene as a figure: its words above and below, its panels in between, and their legend."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from optitrace.views.pictures.panels import (
    DIVERGED,
    DIVERGED_HATCH,
    FONT,
    INK,
    PAPER,
    SIGNS,
    SOFT_INK,
    STYLE,
    WIDTH,
    draw_panel,
    line_color,
    line_style,
)
from optitrace.views.pictures.scene import Kind, Panel, Scene

LINE = 1.5
"""The distance from line to line of text, in font sizes."""

GAP = 0.08
"""Inches between the legend and the notes."""

CHARACTER = 0.57
"""The width of a character of text in font sizes: the average, and a little more."""

TITLE = {"fontsize": FONT + 2.5, "fontweight": "bold", "color": INK}

SUBTITLE = {"fontsize": FONT - 0.5, "color": SOFT_INK}

NOTE = {"fontsize": FONT - 0.5, "color": INK}

EDGE = 0.2
"""Inches that are free around all."""

RIGHT = 0.45
"""Inches on the right of a panel: half of its last tick."""

LEFT = 0.9
"""Inches on the left of a panel: its ticks."""

ABOVE = 0.42
"""Inches above a panel: the name of its axis upwards."""

BELOW = 0.62
"""Inches below a panel: its ticks, and the name of its axis across."""

BAR = 0.95
"""Inches on the right of a heat map: its bar of colours."""

SIGNED = 0.35
"""Inches more where the numbers at the bar can be negative."""

TALL = 3.75
"""Inches that a panel is high that stands alone or beside others."""

LOW = 1.5
"""Inches that a panel is high that stands under another."""

HANDLE = 2.2
"""The width of a handle, in font sizes."""

ENTRY_GAP = 1.6
"""What is free between two entries, in font sizes."""

LONGEST = 80
"""How many characters of a label are shown."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A scene that was drawn.

    Attributes:
        figure: the figure.
        axes: the axes of each panel.
        notes: the lines of text below.
    """

    figure: Figure
    axes: Sequence[Axes]
    notes: Sequence[Text]


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the style of the house, whatever a person's own settings of matplotlib are."""
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def draw(scene: Scene, *, with_lines: bool = True) -> Drawn:
    """Return a scene as a figure; to be called in the style of the house.

    Args:
        scene: what to draw.
        with_lines: whether the lines are drawn, and the marks that belong to them.
    """
    head = _folded([scene.title], TITLE) + _folded([scene.subtitle], SUBTITLE)
    foot = _folded(scene.notes, NOTE)
    entries = _legend_of(scene.panels)
    rows = entries.rows((WIDTH - 2 * EDGE) * 72)
    boxes, height = _place(scene.panels)
    said = sum(map(_inches, foot))
    below = EDGE + said + (rows * FONT * LINE / 72 + GAP if rows else 0.0)
    total = EDGE + sum(map(_inches, head)) + height + below
    figure = Figure(figsize=(WIDTH, total), facecolor=PAPER)
    _write(figure, head, total - EDGE)
    notes = _write(figure, foot, EDGE + said)
    if rows:
        _draw_legend(figure, entries, rows, EDGE / WIDTH, below / total)
    axes = []
    for panel, box in zip(scene.panels, boxes, strict=True):
        ax = figure.add_axes(
            (box.left / WIDTH, (below + box.bottom) / total, box.width / WIDTH, box.height / total)
        )
        draw_panel(ax, panel, with_lines=with_lines)
        axes.append(ax)
    return Drawn(figure, axes, notes)


def _folded(texts: Sequence[str], style: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return lines of text that fit across, each with its style."""
    most = int((WIDTH - 2 * EDGE) * 72 / (CHARACTER * style["fontsize"] * (1.1 if style is TITLE else 1)))
    return [(line, style) for text in texts for line in wrap(text, most)]


def _legend_of(panels: Sequence[Panel]) -> _Legend:
    """Return the legend that some panels share: lines that have a name, limits, and marks."""
    found: dict[str, Any] = {}
    for panel in panels:
        for number, line in enumerate(panel.lines):
            if line.name:
                found.setdefault(line.name, Line2D([], [], linewidth=2.2, **line_style(number)))
    is_alone = not found
    for panel in panels:
        for limit in panel.limits:
            found.setdefault(limit.name, Line2D([], [], color=INK, linestyle=(0, (4, 3)), linewidth=1.4))
        for mark in panel.marks:
            found.setdefault(mark.kind, _sign(mark.kind, line_color(0) if is_alone else INK))
        if panel.cells is not None and panel.cells.has_diverged:
            found.setdefault(
                Kind.DIVERGED, Patch(facecolor=DIVERGED, edgecolor=DIVERGED_HATCH, hatch="////", linewidth=0)
            )
    return _Legend([*found.values()], [*found])


@dataclass(frozen=True, slots=True)
class _Legend:
    """What a legend holds.

    Attributes:
        handles: a line or a sign for each entry.
        labels: what stands beside it.
    """

    handles: Sequence[Any]
    labels: Sequence[str]

    def rows(self, points: float) -> int:
        """Return how many rows it needs, given so many points across; none where it is empty."""
        return -(-len(self.labels) // self.columns(points)) if self.labels else 0

    def columns(self, points: float) -> int:
        """Return how many entries stand side by side, given so many points across."""
        widest = min(max(map(len, self.labels), default=0), LONGEST) * 0.58 + HANDLE + ENTRY_GAP
        return max(1, min(len(self.labels), int(points / (widest * FONT))))


def _sign(kind: Kind, color: str) -> Line2D:
    """Return the sign of a kind of mark; of those that belong to no line, in the colour of ink."""
    own = kind in (Kind.LEAVES, Kind.NON_FINITE, Kind.DIVERGED)
    return Line2D([], [], linestyle="none", color=color if own else INK, **SIGNS[kind])


def _place(panels: Sequence[Panel]) -> tuple[list[_Box], float]:
    """Return where each panel stands, and how many inches all are high, their words included.

    A square panel stands on the left, the others beside it, one under another; heat maps stand two in a
    row.
    """
    maps = [panel for panel in panels if panel.cells is not None]
    if len(maps) == len(panels) and len(panels) > 1:
        return _in_rows(len(panels), _beside(maps))
    squares = [k for k, panel in enumerate(panels) if panel.is_square]
    others = [k for k in range(len(panels)) if k not in squares]
    left = LEFT + (TALL + LEFT + 0.1 if squares else 0.0)
    height = TALL if squares else max(TALL, _stacked(len(others)))
    room = WIDTH - left - (_beside(maps) if maps else RIGHT)
    boxes = dict.fromkeys(squares, _Box(LEFT, BELOW, TALL, TALL))
    each = (height - (len(others) - 1) * (ABOVE + BELOW)) / max(len(others), 1)
    for row, k in enumerate(reversed(others)):
        boxes[k] = _Box(left, BELOW + row * (each + ABOVE + BELOW), room, each)
    return [boxes[k] for k in range(len(panels))], height + ABOVE + BELOW


@dataclass(frozen=True, slots=True)
class _Box:
    """The rectangle between the axes of a panel, in inches from the lower left corner of all panels."""

    left: float
    bottom: float
    width: float
    height: float


def _beside(maps: Sequence[Panel]) -> float:
    """Return the inches on the right of heat maps."""
    return BAR + SIGNED * any(panel.cells and not panel.cells.is_logarithmic for panel in maps)


def _in_rows(count: int, beside: float) -> tuple[list[_Box], float]:
    rows = -(-count // 2)
    width = (WIDTH - EDGE) / 2
    high = TALL * 0.75 + ABOVE + BELOW
    boxes = [
        _Box(LEFT + (k % 2) * width, (rows - 1 - k // 2) * high + BELOW, width - LEFT - beside, TALL * 0.75)
        for k in range(count)
    ]
    return boxes, rows * high


def _stacked(count: int) -> float:
    """Return how high so many panels are, one under another, with the words between them."""
    return count * LOW + (count - 1) * (ABOVE + BELOW)


def _inches(line: tuple[str, dict[str, Any]]) -> float:
    return float(line[1]["fontsize"]) * LINE / 72


def _write(figure: Figure, lines: Sequence[tuple[str, dict[str, Any]]], top: float) -> list[Text]:
    """Write lines of text one under another, from so many inches above the bottom downwards."""
    written = []
    for line in lines:
        place = (EDGE / WIDTH, top / figure.get_figheight())
        written.append(figure.text(*place, line[0], va="top", **line[1]))
        top -= _inches(line)
    return written


def _draw_legend(figure: Figure, legend: _Legend, rows: int, left: float, top: float) -> None:
    """Draw a legend below the panels, its upper left corner at these shares of the figure."""
    count = len(legend.labels)
    columns = -(-count // rows)
    # matplotlib goes down its columns; a ranking is read along the rows
    order = [k for column in range(columns) for k in range(column, count, columns)]
    figure.legend(
        [legend.handles[k] for k in order],
        [_shortened(legend.labels[k]) for k in order],
        loc="upper left",
        bbox_to_anchor=(left, top),
        ncols=columns,
        handlelength=HANDLE,
        columnspacing=ENTRY_GAP,
        borderpad=0,
        borderaxespad=0,
        labelspacing=0.35,
        fontsize=FONT - 0.5,
    )


def _shortened(label: str) -> str:
    """Return a label that fits across: of a long one, as a path is, the middle is left out."""
    if len(label) <= LONGEST:
        return label
    return f"{label[: LONGEST // 2]}…{label[-LONGEST // 2 :]}"
