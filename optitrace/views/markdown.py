"""Traces as a Markdown table, as it is pasted into an issue or a notebook."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from optitrace.records.trace import Trace
from optitrace.views.grid import Grid, Look, make_grid
from optitrace.views.wording import closing, subtitle, title


def markdown_chunks(trace: Trace, look: Look) -> Iterator[str]:
    """Yield a trace as Markdown: the title, the table, and how the run ended."""
    grid = make_grid(trace, look)
    yield f"**{escaped(title(trace.experiment))}**, {escaped(subtitle(trace.experiment))}\n\n"
    yield from markdown_table(grid)
    yield "\n" + "".join(f"{escaped(line)}\n" for line in closing(trace, look.precision))


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
