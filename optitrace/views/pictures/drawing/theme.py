"""The look of pictures: colours, signs and sizes.

The colours of lines are those of Okabe and Ito (2008), which people of every colour vision tell apart;
in grey, dashes do. Losses are light where they are low.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optitrace.views.pictures.scene import Kind

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


def line_style(number: int) -> Mapping[str, Any]:
    """Return the colour and the dashes of line `number` of a panel, from 0."""
    return {"color": line_color(number), "linestyle": LINE_DASHES[number % len(LINE_DASHES)]}


def line_color(number: int) -> str:
    """Return the colour of line `number` of a panel, from 0."""
    return LINE_COLORS[number % len(LINE_COLORS)]
