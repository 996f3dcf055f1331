"""Tables for a terminal of any width: of numbers, which are never cropped, and of words, which are folded."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from optitrace.views.display import WIDE_ENOUGH, Display
from optitrace.views.grid import MOST_ROWS, Grid

GUTTER = 2
"""Blank characters between two columns."""

_ASCII_HEAD = box.Box("    \n    \n -- \n" + "    \n" * 5, ascii=True)
"""rich's SIMPLE_HEAD, a line under the heading and nothing else, in ASCII."""


def hidden_rows(grid: Grid) -> list[str]:
    """Return the line that says how many rows are left out, and how to see them."""
    if not grid.hidden:
        return []
    last_step = int(grid.rows[-1][0])
    every = -(-last_step // (MOST_ROWS - 1))
    return [f"{grid.hidden} rows are hidden; --all shows them, --every {every} thins them out"]


def grid_tables(grid: Grid, display: Display) -> list[RenderableType]:
    """Return the grid as one table, as several that share its labels, or as a list of values."""
    widths = _column_widths(grid)
    if (width := display.width) is None:
        return [_table(grid, range(len(widths)), display)]
    labels = range(grid.labels)
    if not all(_fits([*labels, column], widths, width) for column in range(grid.labels, len(widths))):
        return [Text("\n".join(_values_listed(grid, width, _dots(display))))]
    return [_table(grid, [*labels, *block], display) for block in _blocks(grid, widths, width)]


def headed_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    display: Display,
    *,
    alarm: str | None = None,
    numbers: Collection[str] = (),
) -> RenderableType:
    """Return rows of words under their headings.

    Args:
        headings: what each column is.
        rows: the cells.
        display: what there is room for.
        alarm: the cell that is set in red.
        numbers: the headings of columns of numbers, which are set right.
    """
    spell = display.spell
    sides: list[Literal["left", "right"]] = ["right" if h in numbers else "left" for h in headings]
    headings = [spell(heading) for heading in headings]
    rows = [[spell(cell) for cell in row] for row in rows]
    widths = _word_widths([headings, *rows], display.width)
    if widths is None:
        return Text("\n".join(_rows_listed(headings, rows)))
    table = _open_table(display)
    for heading, column_width, side in zip(headings, widths, sides, strict=True):
        table.add_column(Text(heading), width=column_width, justify=side)
    for row in rows:
        table.add_row(*(Text(cell, style="red" if cell == alarm else "") for cell in row))
    return table


def as_text(lines: Iterable[str], display: Display, style: str = "") -> list[Text]:
    """Return lines as they can be shown."""
    return [Text(display.spell(line), style=style) for line in lines]


def plain_text(renderable: RenderableType) -> str:
    """Return what a console without colours prints, with no line folded and no blanks at line ends."""
    file = io.StringIO()
    console = Console(
        file=file, width=WIDE_ENOUGH, height=50, color_system=None, _environ={}, highlight=False
    )
    console.print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def _table(grid: Grid, columns: Sequence[int], display: Display) -> Table:
    table = _open_table(display)
    lines = 2 if any(grid.headings[column][1] for column in columns) else 1
    for column in columns:
        heading = "\n".join(grid.headings[column][:lines])
        side: Literal["left", "right"] = "left" if column in grid.words else "right"
        table.add_column(Text(heading), justify=side, no_wrap=True)
    for index, row in enumerate(grid.rows):
        if index == grid.gap:
            table.add_row(*[_dots(display)] * len(columns), style="dim")
        table.add_row(*(_cell(row[column]) for column in columns))
    return table


def _dots(display: Display) -> str:
    """Return what stands in place of the hidden rows."""
    return ":" if display.ascii else "⋮"


def _cell(text: str) -> Text:
    return Text(text, style="red" if text in ("inf", "-inf", "nan") else "")


def _blocks(grid: Grid, widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns after the labels in blocks that fit beside them, quantities kept together."""
    blocks: list[list[int]] = []
    labels, groups = range(grid.labels), grid.groups
    for group in sorted(set(groups[grid.labels :])):
        members = [column for column in range(grid.labels, len(groups)) if groups[column] == group]
        if blocks and _fits([*labels, *blocks[-1], *members], widths, width):
            blocks[-1] += members
        else:
            blocks += _pack(labels, members, widths, width)
    return blocks


def _pack(
    labels: Sequence[int], members: Sequence[int], widths: Sequence[int], width: int
) -> list[list[int]]:
    """Return the columns of one quantity in as few blocks as they need."""
    blocks: list[list[int]] = [[]]
    for column in members:
        if blocks[-1] and not _fits([*labels, *blocks[-1], column], widths, width):
            blocks.append([])
        blocks[-1].append(column)
    return blocks


def _fits(columns: Sequence[int], widths: Sequence[int], width: int) -> bool:
    return sum(widths[column] for column in columns) + GUTTER * (len(columns) - 1) <= width


def _column_widths(grid: Grid) -> list[int]:
    return [
        max(map(cell_len, (*heading, *(row[column] for row in grid.rows))))
        for column, heading in enumerate(grid.headings)
    ]


def _values_listed(grid: Grid, width: int, dots: str) -> Iterator[str]:
    """Yield each row as lines of a name and a value, for where no two columns fit."""
    for index, row in enumerate(grid.rows):
        if index:
            yield ""
        if index == grid.gap:
            yield from (dots, "")
        for (quantity, weight), cell in zip(grid.headings, row, strict=True):
            name = f"{quantity} {weight}".strip()
            if not cell:
                continue
            if cell_len(name) + GUTTER + len(cell) <= width:
                yield f"{name}{cell:>{width - cell_len(name)}}"
            else:
                yield from (name, f"{cell:>{width}}")


def _open_table(display: Display) -> Table:
    """Return a table without columns that has a line under its heading, and no other."""
    return Table(
        box=_ASCII_HEAD if display.ascii else box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GUTTER - 1, 0, 0),
        header_style="bold",
    )


def _word_widths(lines: Sequence[Sequence[str]], width: int | None) -> list[int] | None:
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


def _rows_listed(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield each row as lines of a heading and a cell, with an empty line between two rows."""
    for index, row in enumerate(rows):
        if index:
            yield ""
        yield from (f"{heading}: {cell}" for heading, cell in zip(headings, row, strict=True) if cell)
