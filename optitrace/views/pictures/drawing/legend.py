"""The legend: the lines in their order, and what the marks stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from optitrace.views.pictures.drawing.theme import (
    DIVERGED,
    DIVERGED_HATCH,
    FONT,
    INK,
    SIGNS,
    line_color,
    line_style,
)
from optitrace.views.pictures.scene import Cells, Kind, Panel

HANDLE = 2.2
"""The width of a handle, in font sizes."""

GAP = 1.6
"""What is free between two entries, in font sizes."""

LONGEST = 80
"""How many characters of a label are shown."""


@dataclass(frozen=True, slots=True)
class Legend:
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
        widest = min(max(map(len, self.labels), default=0), LONGEST) * 0.58 + HANDLE + GAP
        return max(1, min(len(self.labels), int(points / (widest * FONT))))


def legend_of(panels: Sequence[Panel]) -> Legend:
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
            found.setdefault(mark.kind, sign(mark.kind, line_color(0) if is_alone else INK))
        if panel.cells is not None and _has_diverged(panel.cells):
            found.setdefault(
                Kind.DIVERGED, Patch(facecolor=DIVERGED, edgecolor=DIVERGED_HATCH, hatch="////", linewidth=0)
            )
    return Legend([*found.values()], [*found])


def sign(kind: Kind, color: str) -> Line2D:
    """Return the sign of a kind of mark; of those that belong to no line, in the colour of ink."""
    own = kind in (Kind.LEAVES, Kind.NON_FINITE, Kind.DIVERGED)
    return Line2D([], [], linestyle="none", color=color if own else INK, **SIGNS[kind])


def draw_legend(figure: Figure, legend: Legend, rows: int, left: float, top: float) -> None:
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
        columnspacing=GAP,
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


def _has_diverged(cells: Cells) -> bool:
    return any(x == float("inf") for row in cells.rows for x in row)
