"""A sweep as Markdown, as it is pasted into an issue, and as HTML, for a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from optitrace.analysis.sweeping.sweep import Sweep
from optitrace.views.grid import Grid
from optitrace.views.html import html_grid
from optitrace.views.markdown import escaped, markdown_table
from optitrace.views.sweep_cells import NOTHING, SweepCells, cells, closing, heading


def sweep_markdown(sweeps: Sequence[Sweep], commands: Sequence[str], precision: int) -> Iterator[str]:
    """Yield what sweeps found as Markdown: what was swept, the best, and what came of the others.

    Args:
        sweeps: one for each optimizer.
        commands: for each, the command that traces its best configuration; empty if there is none.
        precision: decimals of the measures.
    """
    found = cells(sweeps, precision)
    yield "".join(f"{escaped(line)}\n" for line in heading(sweeps)) + "\n"
    yield from markdown_table(_grid(found)) if found.rows else [f"{NOTHING}\n"]
    yield "\n" + "".join(f"{escaped(line)}\n" for line, _ in closing(sweeps, commands))


def sweep_html(sweep: Sweep, command: str, precision: int) -> str:
    """Return what a sweep found as an HTML fragment."""
    found = cells([sweep], precision)
    title, *rest = map(escape, heading([sweep]))
    table = html_grid(_grid(found)) if found.rows else NOTHING
    closed = "<br>".join(escape(line) for line, _ in closing([sweep], [command]))
    return f"<div><b>{title}</b><br>{'<br>'.join(rest)}\n{table}\n{closed}</div>"


def _grid(found: SweepCells) -> Grid:
    return Grid([(heading, "") for heading in found.headings], range(len(found.headings)), found.rows)
