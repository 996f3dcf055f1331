"""A page: a result as sections that can be pasted into a text, and their HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TypeAlias

from optitrace.views.grid import Grid


@dataclass(frozen=True, slots=True)
class Heading:
    """What was run, and below it on what, or with what."""

    title: str
    subtitle: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Lines of text."""

    lines: Sequence[str]


Section: TypeAlias = Heading | Paragraph | Grid
"""A part of a page."""


def grid_of_words(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """Return rows of words under their headings."""
    return Grid([(heading, "") for heading in headings], range(len(headings)), rows)


def html_page(sections: Iterable[Section]) -> str:
    """Return the sections of a page as HTML."""
    sections = list(sections)
    breaks = ["", *(_break(before, after) for before, after in pairwise(sections))]
    return f"<div>{''.join(b + _section(section) for b, section in zip(breaks, sections, strict=True))}</div>"


def _break(before: Section, after: Section) -> str:
    """Return what stands between two sections: a table is on lines of its own, an empty line below it."""
    if isinstance(after, Grid):
        return "\n"
    if isinstance(before, Grid):
        return "\n<br>"
    return "<br>"


def _section(section: Section) -> str:
    match section:
        case Heading(title, subtitle):
            return f"<b>{escape(title)}</b><br>{escape(subtitle)}"
        case Paragraph(lines):
            return "<br>".join(map(escape, lines))
        case _:
            return _table(section)


def _table(grid: Grid) -> str:
    headings = _row((escape(" ".join(heading).strip()) for heading in grid.headings), "th")
    rows = [_row(map(escape, row), "td") for row in grid.rows]
    if grid.gap is not None:
        more = f'<tr><td colspan="{len(grid.headings)}">… {grid.hidden} rows more …</td></tr>\n'
        rows.insert(grid.gap, more)
    return f"<table>\n{headings}{''.join(rows)}</table>"


def _row(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>\n"
