"""Traces as an HTML table, for a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from optitrace.records.trace import Trace
from optitrace.views.grid import Grid, Look, make_grid
from optitrace.views.wording import closing, subtitle, title


def html_table(trace: Trace, look: Look) -> str:
    """Return a trace as an HTML fragment: the title, the table, and how the run ended."""
    heading = f"<b>{escape(title(trace.experiment))}</b><br>{escape(subtitle(trace.experiment))}"
    closed = "<br>".join(map(escape, closing(trace, look.precision)))
    return f"<div>{heading}\n{html_grid(make_grid(trace, look))}\n{closed}</div>"


def html_grid(grid: Grid) -> str:
    """Return a grid as an HTML table."""
    return f"<table>\n{_head(grid)}{_body(grid)}</table>"


def _head(grid: Grid) -> str:
    return _row((escape(" ".join(heading).strip()) for heading in grid.headings), "th")


def _body(grid: Grid) -> str:
    rows = [_row(map(escape, row), "td") for row in grid.rows]
    if grid.gap is not None:
        columns = len(grid.headings)
        rows.insert(grid.gap, f'<tr><td colspan="{columns}">… {grid.hidden} rows more …</td></tr>\n')
    return "".join(rows)


def _row(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>\n"
