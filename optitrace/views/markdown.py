"""Traces as a Markdown table, as it is pasted into an issue or a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optitrace.tracing.trace import Trace
from optitrace.views.grid import Grid, Look, make_grid
from optitrace.views.wording import closing, subtitle, title


def markdown_chunks(trace: Trace, look: Look) -> Iterator[str]:
    """Yield a trace as Markdown: the title, the table, and how the run ended."""
    grid = make_grid(trace, look)
    yield f"**{title(trace.experiment)}**, {subtitle(trace.experiment)}\n\n"
    yield from markdown_table(grid)
    yield "\n" + "".join(f"{line}\n" for line in closing(trace, look.precision))


def markdown_table(grid: Grid) -> Iterator[str]:
    """Yield a grid as Markdown, line by line."""
    headings = [" ".join(heading).strip() for heading in grid.headings]
    yield _line(headings)
    yield _line([":---" if 0 < column < grid.labels else "---:" for column in range(len(headings))])
    for index, row in enumerate(grid.rows):
        if index == grid.gap:
            yield _line([f"… {grid.hidden} more"] + ["…"] * (len(headings) - 1))
        yield _line(row)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |\n"


def escaped(text: str) -> str:
    r"""Return a text as Markdown shows it.

    >>> escaped("*a|b")
    '\\*a\\|b'
    """
    return text.replace("*", r"\*").replace("|", r"\|")
