"""What a sweep found, for a person: the picture, the best configurations, and what torch says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.sweeping.sweep import Sweep
from optitrace.text.ascii import to_ascii
from optitrace.views.headed_table import headed_table
from optitrace.views.sweep_cells import NOTHING, cells, closing, heading
from optitrace.views.sweep_curve import curve_lines
from optitrace.views.sweep_map import map_lines


def sweep_table(
    sweeps: Sequence[Sweep],
    commands: Sequence[str],
    *,
    precision: int = 4,
    width: int | None = None,
    ascii_only: bool = False,
) -> RenderableType:
    """Return what the sweeps of one or several optimizers found.

    Args:
        sweeps: one for each optimizer.
        commands: for each, the command that traces its best configuration; empty if there is none.
        precision: decimals of the measures.
        width: how many characters a line may have; as many as needed if not given.
        ascii_only: whether to spell everything in ASCII.
    """
    spell = to_ascii if ascii_only else str
    parts: list[RenderableType] = [Text(spell(line)) for line in heading(sweeps)]
    if len(sweeps) == 1:
        parts += _pictured(sweeps[0], width, ascii_only)
    found = cells(sweeps, precision)
    table: RenderableType = Text(NOTHING)
    if found.rows:
        table = headed_table(
            found.headings, found.rows, width=width, numbers=found.numbers, ascii_only=ascii_only
        )
    parts += [Text(), table, Text()]
    for line, may_fold in closing(sweeps, commands):
        parts += [Text(folded) for folded in _folded(spell(line), width if may_fold else None)]
    return Group(*parts)


def _pictured(sweep: Sweep, width: int | None, ascii_only: bool) -> Iterator[RenderableType]:
    if sweep.landscape is None or not sweep.best:
        return
    draw = map_lines if sweep.landscape.up else curve_lines
    lines = draw(sweep.landscape, width=width, ascii_only=ascii_only)
    yield Text()
    yield Text("\n".join(lines))


def _folded(line: str, width: int | None) -> list[str]:
    return [line] if width is None else wrap(line, width, break_long_words=False, break_on_hyphens=False)
