"""A scene as lines of characters: its panels beside or under one another, and their legend."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.text import Text

from optitrace.views.pictures.characters.layers import has_end
from optitrace.views.pictures.characters.panels import AROUND, Size, draw_panel, margin
from optitrace.views.pictures.characters.theme import Signs, line_color, signs_of_terminal
from optitrace.views.pictures.scene import Panel, Scene
from optitrace.views.sweep_picture import USUAL_WIDTH

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


def plot(scene: Scene, *, width: int | None = None, ascii_only: bool = False) -> Text:
    """Return the panels of a scene and their legend; what is said above and below is left to a table.

    Args:
        scene: what to draw.
        width: how many characters a line may have; `USUAL_WIDTH` if not given.
        ascii_only: whether there is ASCII alone.
    """
    signs = signs_of_terminal(ascii_only=ascii_only)
    room = min(width or USUAL_WIDTH, WIDEST)
    squares = [panel for panel in scene.panels if panel.is_square]
    others = [panel for panel in scene.panels if not panel.is_square]
    if squares and others and room >= SIDE_BY_SIDE:
        lines = _beside(squares[0], others, room, signs)
    else:
        rows = LOW if len(others) > 1 else HIGH
        lines = [line for panel in squares for line in _square(panel, room, signs)]
        lines += _stacked(others, room, rows, signs)
    return Text("\n").join([*lines, *_legend(scene.panels, room, signs)])


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
    return draw_panel(panel, Size(2 * rows, rows, left), signs)


def _stacked(panels: Sequence[Panel], room: int, rows: int, signs: Signs) -> list[Text]:
    """Return panels one under another, their axes upwards in one line."""
    left = max((margin(panel, rows) for panel in panels), default=0)
    size = Size(max(room - left, LEAST), rows, left)
    return [line for panel in panels for line in draw_panel(panel, size, signs)]


def _legend(panels: Sequence[Panel], room: int, signs: Signs) -> list[Text]:
    """Return what the signs stand for, those that occur."""
    entries: dict[str, Text] = {}
    for panel in panels:
        for number, line in enumerate(panel.lines):
            if line.name:
                sign = (signs.line(number), line_color(number))
                entries.setdefault(line.name, Text.assemble(sign, f" {line.name}"))
        for limit in panel.limits:
            entries.setdefault(limit.name, Text(f"{signs.upright[0]} {limit.name}"))
        for mark in panel.marks:
            entries.setdefault(mark.kind, Text(f"{signs.kinds[mark.kind]} {mark.kind}"))
        if has_end(panel):
            entries.setdefault("end", Text(f"{signs.end} end"))
    lines: list[Text] = []
    for entry in entries.values():
        if lines and lines[-1].cell_len + GAP + entry.cell_len <= room:
            lines[-1].append(" " * GAP).append_text(entry)
        else:
            lines.append(entry)
    return lines
