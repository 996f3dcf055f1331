"""The table: a trace for a person, in whatever width there is. No number is ever cropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optitrace.analysis.comparison import losses_after
from optitrace.analysis.findings import NO_FINDINGS, Findings
from optitrace.records.trace import Trace
from optitrace.text.ascii import to_ascii
from optitrace.views.explanation import explained_lines
from optitrace.views.grid import MOST_ROWS, Grid, Look, make_grid
from optitrace.views.headed_table import GUTTER, open_table
from optitrace.views.sparkline import sparkline
from optitrace.views.theory import theory_lines
from optitrace.views.wording import closing, subtitle, title


def render(
    trace: Trace,
    look: Look,
    *,
    width: int | None = None,
    findings: Findings = NO_FINDINGS,
    notes: Sequence[str] = (),
    plot: Text | None = None,
    ascii_only: bool = False,
) -> RenderableType:
    """Return a trace as a table with its title above and what is to be said of it below.

    Args:
        trace: what to show.
        look: what of it, and how.
        width: how many characters a line may have; as many as needed if not given.
        findings: what was learned of the trace, to be told below the table.
        notes: lines to set at the end, after the final loss.
        plot: a picture to set below the table.
        ascii_only: whether to spell everything in ASCII.
    """
    spell = to_ascii if ascii_only else str
    grid = make_grid(trace, look)
    loss, *rest = closing(trace, look.precision)
    course = sparkline([loss for _, loss in losses_after(trace)], ascii_only=ascii_only)
    lines = [*hidden_rows(grid), f"{loss}  {course}".rstrip(), *rest, *theory_lines(findings.theory), *notes]
    explained = explained_lines(findings.explained.values(), look.precision, width)
    return Group(
        Text(spell(title(trace.experiment)), style="bold"),
        Text(spell(subtitle(trace.experiment)), style="dim"),
        *(part for block in grid_tables(grid, width, ascii_only) for part in (Text(), block)),
        *((Text(), plot) if plot else ()),
        Text(),
        *(Text(spell(line)) for line in explained),
        *(Text(spell(line)) for line in lines),
    )


def hidden_rows(grid: Grid) -> list[str]:
    """Return the line that says how many rows are left out, and how to see them."""
    if not grid.hidden:
        return []
    if grid.labels > 1:
        return [f"{grid.hidden} rows are hidden; --all shows them"]
    last_step = int(grid.rows[-1][0])
    every = -(-last_step // (MOST_ROWS - 1))
    return [f"{grid.hidden} rows are hidden; --all shows them, --every {every} thins them out"]


def grid_tables(grid: Grid, width: int | None, ascii_only: bool) -> list[RenderableType]:
    """Return the grid as one table, as several that share its labels, or as a list of values."""
    widths = _widths(grid)
    if width is None:
        return [_table(grid, range(len(widths)), ascii_only)]
    labels = range(grid.labels)
    if not all(_fits([*labels, column], widths, width) for column in range(grid.labels, len(widths))):
        return [Text("\n".join(_as_list(grid, width, _dots(ascii_only))))]
    return [_table(grid, [*labels, *block], ascii_only) for block in _blocks(grid, widths, width)]


def _table(grid: Grid, columns: Sequence[int], ascii_only: bool) -> Table:
    table = open_table(ascii_only=ascii_only)
    lines = 2 if any(grid.headings[column][1] for column in columns) else 1
    for column in columns:
        heading = "\n".join(grid.headings[column][:lines])
        is_name = 0 < column < grid.labels
        table.add_column(Text(heading), justify="left" if is_name else "right", no_wrap=True)
    for index, row in enumerate(grid.rows):
        if index == grid.gap:
            table.add_row(*[_dots(ascii_only)] * len(columns), style="dim")
        table.add_row(*(_cell(row[column]) for column in columns))
    return table


def _dots(ascii_only: bool) -> str:
    """Return what stands in place of the hidden rows."""
    return ":" if ascii_only else "⋮"


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


def _widths(grid: Grid) -> list[int]:
    """Return how many characters each column needs."""
    return [
        max(map(cell_len, (*heading, *(row[column] for row in grid.rows))))
        for column, heading in enumerate(grid.headings)
    ]


def _as_list(grid: Grid, width: int, dots: str) -> Iterator[str]:
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
