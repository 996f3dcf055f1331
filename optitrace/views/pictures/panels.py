"""A panel of a scene drawn by matplotlib: its layers, its axes, and the style of all pictures.

The colours of lines are those of Okabe and Ito (2008), distinguishable by people of every colour vision; in
grayscale, dashes distinguish them. Low losses are light.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    Formatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
)

from optitrace.views.pictures.scene import Axis, Cells, Contour, Kind, Line, Mark, Panel, Stroke

INK = "#1f2933"
SOFT_INK = "#52606d"
FAINT_INK = "#d3d9e0"
PAPER = "#ffffff"

LINE_COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#e69f00", "#4b4b4b")
LINE_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (10, 3)))

LOW_LOSS = "#fbfcfd"
HIGH_LOSS = "#a9bccd"
LEVEL_LINE = "#8ea5ba"

CELLS = "viridis_r"
"""The map of colours of a heat map: read alike by every colour vision and in grey; light where losses are
low."""

DIVERGED = "#f4e3dc"
DIVERGED_HATCH = "#d55e00"
"""The colours of what diverged, which the map of colours does not have; hatched, so as to be told in grey."""

SIGNS: Mapping[Kind, Mapping[str, Any]] = {
    Kind.START: {"marker": "o", "markersize": 9, "markerfacecolor": PAPER, "markeredgewidth": 1.8},
    Kind.MINIMUM: {"marker": "+", "markersize": 13, "markeredgewidth": 2.4},
    Kind.BEST: {"marker": "*", "markersize": 17, "markerfacecolor": PAPER, "markeredgewidth": 1.4},
    Kind.LEAVES: {"marker": "^", "markersize": 11, "markeredgewidth": 1.0},
    Kind.NON_FINITE: {"marker": "X", "markersize": 11, "markeredgewidth": 1.0},
    Kind.DIVERGED: {"marker": "x", "markersize": 8, "markeredgewidth": 2.0},
}
"""The sign of each kind of mark."""

WIDTH = 10.0
"""Inches across."""

FONT = 12.5
"""Points of the usual text: readable when a picture is shown at half its size."""

STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": FONT,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": SOFT_INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.9,
    "axes.titlesize": FONT,
    "axes.titlepad": 8.0,
    "xtick.color": SOFT_INK,
    "ytick.color": SOFT_INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": FONT - 1,
    "ytick.labelsize": FONT - 1,
    "grid.color": FAINT_INK,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "optitrace",
    "pdf.fonttype": 42,
}
"""What matplotlib is told, on top of its own defaults, whatever a person's settings of it are."""


MANY = 1500
"""A line of more points is drawn thin."""

MOST_TICKS = 6
"""How many ticks an axis has, about."""

MOST_VALUES = 12
"""How many ticks it has where each stands for a value of a list."""

ROUND = [1, 2, 5, 10]
"""What the distance of two ticks is a power of ten times of."""


def line_style(number: int) -> Mapping[str, Any]:
    """Return the colour and the dashes of line `number` of a panel, from 0."""
    return {"color": line_color(number), "linestyle": LINE_DASHES[number % len(LINE_DASHES)]}


def line_color(number: int) -> str:
    """Return the colour of line `number` of a panel, from 0."""
    return LINE_COLORS[number % len(LINE_COLORS)]


def draw_panel(ax: Axes, panel: Panel, *, with_lines: bool = True) -> None:
    """Draw a panel: the ground first, then lines, limits and marks.

    Args:
        ax: what to draw on.
        panel: what to draw.
        with_lines: whether the lines are drawn, and the marks that belong to them.
    """
    _lay_out(ax, panel)
    if panel.contour is not None:
        _draw_contour(ax, panel.contour)
    if panel.cells is not None:
        _draw_cells(ax, panel.cells, panel)
    for stroke in panel.ground:
        ax.plot(*coordinates([stroke]), color=SOFT_INK, linewidth=2.0, zorder=1.5)
    for limit in panel.limits:
        color = INK if panel.cells is None else PAPER
        ax.plot(*coordinates(limit.strokes), color=INK, linewidth=3.2 if panel.cells else 0, zorder=2)
        ax.plot(*coordinates(limit.strokes), color=color, linewidth=1.4, linestyle=(0, (4, 3)), zorder=2.1)
    if with_lines:
        for number, line in enumerate(panel.lines):
            draw_line(ax, line, number)
    for mark in panel.marks:
        if with_lines or mark.line is None:
            draw_mark(ax, mark, panel)


def coordinates(strokes: Sequence[Stroke]) -> tuple[list[float], list[float]]:
    """Return strokes as the numbers across and up, with a gap between two."""
    xs: list[float] = []
    ys: list[float] = []
    for stroke in strokes:
        if xs:
            xs.append(math.nan)
            ys.append(math.nan)
        xs += [x for x, _ in stroke.points]
        ys += [y for _, y in stroke.points]
    return xs, ys


def draw_line(ax: Axes, line: Line, number: int) -> list[Any]:
    """Draw a line, the stroke and the dots of it; return both."""
    count = sum(len(stroke.points) for stroke in line.strokes)
    drawn: list[Any] = ax.plot(
        *coordinates(line.strokes),
        linewidth=1.8 if count <= MANY else 0.6,
        clip_on=False,
        zorder=3,
        **line_style(number),
    )
    if line.has_dots:
        at = [point for stroke in line.strokes for point in stroke.dots]
        drawn += ax.plot(
            [x for x, _ in at],
            [y for _, y in at],
            linestyle="none",
            marker="o",
            markersize=dot_size(len(at)),
            markeredgecolor=PAPER,
            markeredgewidth=0.6 if len(at) <= 120 else 0,
            color=line_color(number),
            clip_on=False,
            zorder=3.1,
        )
    return drawn


def dot_size(count: int) -> float:
    """Return how many points wide the dot of a step is, given how many steps a line has."""
    return 5.5 if count <= 65 else 3.2 if count <= 150 else 2.2 if count <= MANY else 1.2


def draw_mark(ax: Axes, mark: Mark, panel: Panel) -> list[Any]:
    """Draw a mark and what is said of it, and return both; what leaves is an arrow that points outwards."""
    style = dict(SIGNS[mark.kind])
    color = INK if mark.line is None or mark.kind is Kind.BEST else line_color(mark.line)
    if mark.kind is Kind.BEST and mark.line is not None and len(panel.lines) > 1:
        style["markerfacecolor"] = line_color(mark.line)
    across, up = panel.across.share(mark.at[0]), panel.up.share(mark.at[1])
    degrees = turn(across, up)
    if mark.kind is Kind.LEAVES:
        style["marker"] = (3, 0, degrees)
    edge = PAPER if mark.kind in (Kind.LEAVES, Kind.NON_FINITE) else color
    drawn: list[Any] = ax.plot(
        *([c] for c in mark.at),
        linestyle="none",
        color=color,
        markeredgecolor=edge,
        clip_on=False,
        zorder=4 if mark.kind is not Kind.DIVERGED else 2.5,
        **style,
    )
    if mark.text:
        inward = (11 if across < 0.5 else -11, -4 if up > 0.5 else 4)
        said = ax.annotate(
            mark.text,
            mark.at,
            xytext=inward,
            textcoords="offset points",
            ha="left" if across < 0.5 else "right",
            va="top" if up > 0.5 else "bottom",
            fontsize=FONT - 1.5,
            color=color,
            zorder=4.1,
        )
        drawn.append(said)
    return drawn


def turn(across: float, up: float) -> float:
    """Return by how many degrees an arrow that points up is turned to point over the nearest edge."""
    return min((1 - up, 0.0), (up, 180.0), (across, 90.0), (1 - across, -90.0))[1]


def scale(axis: Any, of: Axis) -> None:
    """Give an axis of matplotlib the scale and the ticks of an axis of a scene."""
    if of.ticks:
        shown = of.ticks[:: -(-len(of.ticks) // MOST_VALUES)]
        axis.set_major_locator(FixedLocator([at for at, _ in shown]))
        axis.set_major_formatter(FuncFormatter(lambda x, _: dict(shown).get(x, "")))
    elif of.is_logarithmic:
        axis._set_axes_scale("log")
        axis.set_major_locator(LogLocator(10, numticks=MOST_TICKS))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    else:
        is_step = of.label.startswith("step")
        axis.set_major_locator(MaxNLocator(MOST_TICKS, steps=ROUND, integer=is_step))
        axis.set_major_formatter(_formatter(of, is_step=is_step))


def _lay_out(ax: Axes, panel: Panel) -> None:
    scale(ax.xaxis, panel.across)
    scale(ax.yaxis, panel.up)
    ax.set_xlim(panel.across.low, panel.across.high)
    ax.set_ylim(panel.up.low, panel.up.high)
    ax.set_xlabel(panel.across.label)
    said = f"{panel.title}: {panel.up.label}" if panel.title else panel.up.label
    ax.set_title(said, loc="left", x=-0.01, ha="right" if len(said) < 3 else "left")
    if panel.contour is None and panel.cells is None:
        ax.grid(True, which="major")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)


def _draw_contour(ax: Axes, contour: Contour) -> None:
    if not contour.levels:
        return
    shades = LinearSegmentedColormap.from_list("loss", [LOW_LOSS, HIGH_LOSS])
    count = len(contour.levels)
    colors = [shades(k / count) for k in range(count + 1)]
    unit = max(1.0, *map(abs, contour.levels))  # matplotlib adds levels, and takes 1e250 for without end
    grid = (contour.across, contour.up, [[loss / unit for loss in row] for row in contour.losses])
    levels = [level / unit for level in contour.levels]
    ax.contourf(*grid, levels=levels, colors=colors, extend="both", zorder=0.5)
    ax.contour(*grid, levels=levels, colors=LEVEL_LINE, linewidths=0.7, linestyles="solid", zorder=0.6)


def _draw_cells(ax: Axes, cells: Cells, panel: Panel) -> None:
    """Draw a heat map: hatched where all diverged, blank where nothing was run."""
    columns, rows = len(cells.rows[0]), len(cells.rows)
    xs = [panel.across.at(k / columns) for k in range(columns + 1)]
    ys = [panel.up.at(k / rows) for k in range(rows + 1)]
    ax.set_facecolor(DIVERGED)
    ax.patch.set(hatch="////", edgecolor=DIVERGED_HATCH, linewidth=0)
    blank = [[0.0 if math.isnan(x) else math.nan for x in row] for row in cells.rows]
    ax.pcolormesh(xs, ys, blank, cmap=ListedColormap([PAPER]), zorder=0.5)
    finite = [[x if math.isfinite(x) else math.nan for x in row] for row in cells.rows]
    high = cells.high if cells.high > cells.low else cells.low + 1
    mesh = ax.pcolormesh(xs, ys, finite, cmap=CELLS, vmin=cells.low, vmax=high, zorder=0.6)
    _draw_bar(ax, mesh, cells)


def _draw_bar(ax: Axes, mesh: Any, cells: Cells) -> None:
    """Draw the bar of colours on the right of a heat map."""
    beside = ax.inset_axes((1.0 + 0.14 / ax.get_position().width / WIDTH, 0.0, 0.02, 1.0))
    assert isinstance(ax.figure, Figure)
    bar = ax.figure.colorbar(mesh, cax=beside)
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(6, integer=cells.is_logarithmic)
    bar.formatter = FuncFormatter(lambda x, _: f"{cells.number(x):.3g}")
    bar.update_ticks()
    beside.set_title(cells.label, loc="left", fontsize=FONT - 1)
    if cells.is_cut:
        beside.set_xlabel(f"{cells.number(cells.low):.0e}\nor less", loc="left", fontsize=FONT - 1)


def _formatter(of: Axis, *, is_step: bool) -> Formatter:
    """Return how the numbers of a linear axis are written: never with a factor that stands elsewhere."""
    if is_step:
        return FuncFormatter(lambda x, _: f"{x:,.0f}")
    largest = max(abs(of.low), abs(of.high))
    if 1e-3 <= largest < 1e6:
        return ScalarFormatter(useOffset=False)
    beside = math.floor(math.log10(largest / (of.high - of.low)))
    digits = min(17, 3 + max(0, beside))  # far from zero, too, no two ticks read alike
    return FuncFormatter(lambda x, _: f"{x:.{digits}g}")
