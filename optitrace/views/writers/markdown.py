"""Markdown, as it is pasted into an issue or a notebook."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from optitrace.views.display import Display
from optitrace.views.formats import HasPage, Writer
from optitrace.views.page import Heading, Paragraph, Section

if TYPE_CHECKING:
    from optitrace.views.grid import Grid


def write_markdown(result: HasPage, display: Display) -> Iterator[str]:
    """Yield the page of a result as Markdown, an empty line between two sections."""
    for place, section in enumerate(result.page(display)):
        if place:
            yield "\n"
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    match section:
        case Heading(title, subtitle):
            yield f"**{escaped(title)}**, {escaped(subtitle)}\n"
        case Paragraph(lines):
            yield from (f"{escaped(line)}\n" for line in lines)
        case _:
            yield from _table(section)


def _table(grid: Grid) -> Iterator[str]:
    headings = [" ".join(heading).strip() for heading in grid.headings]
    yield _line(headings)
    yield _line([":---" if column in grid.words else "---:" for column in range(len(headings))])
    for index, row in enumerate(grid.rows):
        if index == grid.gap:
            yield _line([f"… {grid.hidden} more"] + ["…"] * (len(headings) - 1))
        yield _line(row)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |\n"


def escaped(text: str) -> str:
    r"""Return a text that Markdown shows as it stands: no emphasis, link, picture, HTML, code or list in it.

    Underscores within words, closing brackets and the signs of numbers have no meaning in Markdown and stay.

    >>> escaped("*a|b"), escaped("exp_avg[0]"), escaped("![x](y.png)"), escaped("<img src=x>")
    ('\\*a\\|b', 'exp_avg\\[0]', '!\\[x](y.png)', '&lt;img src=x>')
    >>> escaped("# x"), escaped("-0.5"), escaped("- x"), escaped("2. x")
    ('\\# x', '-0.5', '\\- x', '2\\. x')
    """
    for pattern, replacement in _ESCAPES:
        text = pattern.sub(replacement, text)
    return text


_ESCAPES = (
    (re.compile(r"[\\`*\[|~$]"), r"\\\g<0>"),
    (re.compile(r"_(?![^\W_])"), r"\\_"),
    (re.compile("&"), "&amp;"),
    (re.compile("<"), "&lt;"),
    (re.compile(r"^(\s*)(>|[#+-]+(?=\s|$)|=+$)"), r"\1\\\2"),
    (re.compile(r"^(\s*[0-9]{1,9})([.)])(?=\s|$)"), r"\1\\\2"),
)
"""What Markdown would read as more than text, and how it is written to be read as that, one after another."""


WRITERS = (Writer("markdown", ".md", HasPage, write_markdown),)
