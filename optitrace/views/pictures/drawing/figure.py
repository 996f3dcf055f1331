"""A scene as a figure: its words above and below, its panels in between."""

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
from matplotlib.text import Text

from optitrace.views.pictures.drawing.layout import EDGE, WIDTH, place
from optitrace.views.pictures.drawing.legend import draw_legend, legend_of
from optitrace.views.pictures.drawing.panels import draw_panel
from optitrace.views.pictures.drawing.theme import FONT, INK, PAPER, SOFT_INK, STYLE
from optitrace.views.pictures.scene import Scene

LINE = 1.5
"""The distance from line to line of text, in font sizes."""

GAP = 0.08
"""Inches between the legend and the notes."""

CHARACTER = 0.57
"""The width of a character of text in font sizes: the average, and a little more."""

TITLE = {"fontsize": FONT + 2.5, "fontweight": "bold", "color": INK}
SUBTITLE = {"fontsize": FONT - 0.5, "color": SOFT_INK}
NOTE = {"fontsize": FONT - 0.5, "color": INK}


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
    entries = legend_of(scene.panels)
    rows = entries.rows((WIDTH - 2 * EDGE) * 72)
    boxes, height = place(scene.panels)
    said = sum(map(_inches, foot))
    below = EDGE + said + (rows * FONT * LINE / 72 + GAP if rows else 0.0)
    total = EDGE + sum(map(_inches, head)) + height + below
    figure = Figure(figsize=(WIDTH, total), facecolor=PAPER)
    _write(figure, head, total - EDGE)
    notes = _write(figure, foot, EDGE + said)
    if rows:
        draw_legend(figure, entries, rows, EDGE / WIDTH, below / total)
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


def _inches(line: tuple[str, dict[str, Any]]) -> float:
    """Return how high a line of text is."""
    return float(line[1]["fontsize"]) * LINE / 72


def _write(figure: Figure, lines: Sequence[tuple[str, dict[str, Any]]], top: float) -> list[Text]:
    """Write lines of text one under another, from so many inches above the bottom downwards."""
    written = []
    for line in lines:
        place = (EDGE / WIDTH, top / figure.get_figheight())
        written.append(figure.text(*place, line[0], va="top", **line[1]))
        top -= _inches(line)
    return written
