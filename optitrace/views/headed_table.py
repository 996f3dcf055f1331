"""Tables of words: folded between words, and a list where even a single word would be cut."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from optitrace.text.ascii import to_ascii

GUTTER = 2
"""Blank characters between two columns."""

_ASCII_HEAD = box.Box("    \n    \n -- \n" + "    \n" * 5, ascii=True)
"""rich's SIMPLE_HEAD, a line under the heading and nothing else, in ASCII."""


def open_table(*, ascii_only: bool) -> Table:
    """Return a table without columns that has a line under its heading, and no other."""
    return Table(
        box=_ASCII_HEAD if ascii_only else box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GUTTER - 1, 0, 0),
        header_style="bold",
    )


def headed_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    alarm: str | None = None,
    numbers: Collection[str] = (),
    ascii_only: bool = False,
) -> RenderableType:
    """Return rows of words under their headings.

    Args:
        headings: what each column is.
        rows: the cells.
        width: how many characters a line may have; as many as needed if not given.
        alarm: the cell that is set in red.
        numbers: the headings of columns of numbers, which are set right.
        ascii_only: whether to spell everything in ASCII.
    """
    spell = to_ascii if ascii_only else str
    sides: list[Literal["left", "right"]] = ["right" if h in numbers else "left" for h in headings]
    headings = [spell(heading) for heading in headings]
    rows = [[spell(cell) for cell in row] for row in rows]
    widths = _widths([headings, *rows], width)
    if widths is None:
        return Text("\n".join(_as_list(headings, rows)))
    table = open_table(ascii_only=ascii_only)
    for heading, column_width, side in zip(headings, widths, sides, strict=True):
        table.add_column(Text(heading), width=column_width, justify=side)
    for row in rows:
        table.add_row(*(Text(cell, style="red" if cell == alarm else "") for cell in row))
    return table


def _widths(lines: Sequence[Sequence[str]], width: int | None) -> list[int] | None:
    """Return how wide the columns are, each as its longest word at least; None if they do not fit.

    What is to spare is shared evenly, and what a column does not need of its share goes to the others.
    """
    columns = list(zip(*lines, strict=True))
    most = [max(map(len, column)) for column in columns]
    if width is None:
        return most
    widths = [max(len(word) for cell in column for word in [*cell.split(), ""]) for column in columns]
    spare = width - GUTTER * (len(columns) - 1) - sum(widths)
    if spare < 0:
        return None
    neediest_last = sorted(range(len(columns)), key=lambda index: most[index] - widths[index])
    for position, index in enumerate(neediest_last):
        more = min(most[index] - widths[index], spare // (len(columns) - position))
        widths[index] += more
        spare -= more
    return widths


def _as_list(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield each row as lines of a heading and a cell, with an empty line between two rows."""
    for index, row in enumerate(rows):
        if index:
            yield ""
        yield from (f"{heading}: {cell}" for heading, cell in zip(headings, row, strict=True) if cell)
