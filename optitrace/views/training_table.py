"""The tables of a training, for a person, in whatever width there is: one for each optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from optitrace.errors import printable
from optitrace.records.findings import TrainingFindings
from optitrace.records.training import OptimizerTrace, Training
from optitrace.text.ascii import to_ascii
from optitrace.views.grid import Look, hidden_values, rows_remark, training_grids
from optitrace.views.sparkline import sparkline
from optitrace.views.table import grid_tables, hidden_rows
from optitrace.views.training_extent import extent
from optitrace.views.training_faults import told
from optitrace.views.training_wording import (
    NO_STEP,
    ending_lines,
    findings_lines,
    optimizer_subtitle,
    optimizer_title,
    program_line,
    soundness,
)


def render_training(
    training: Training,
    findings: TrainingFindings,
    look: Look,
    *,
    width: int | None = None,
    notes: Sequence[str] = (),
    plot: Text | None = None,
    ascii_only: bool = False,
) -> RenderableType:
    """Return a training as tables, with how it ended and what was found out about it below.

    Args:
        training: what to show.
        findings: what was found out about it.
        look: what of it, and how.
        width: how many characters a line may have; as many as needed if not given.
        notes: lines to set at the end.
        plot: a picture to set below the tables.
        ascii_only: whether to spell everything in ASCII.
    """
    spell = to_ascii if ascii_only else str
    parts: list[RenderableType] = []
    if program := program_line(training):
        parts += [Text(spell(program), style="dim"), Text()]
    shown = extent(training.optimizers, shows_all=look.all_rows)
    for place, optimizer in enumerate(shown.optimizers):
        if place == shown.gap:
            parts += [Text(spell(shown.line)), Text()]
        parts += [*_optimizer(optimizer, look, width, ascii_only), Text()]
    if plot is not None:
        parts += [plot, Text()]
    parts += map(Text, map(spell, ending_lines(training)))
    parts += _faults(training, findings, look, ascii_only)
    found = findings_lines(findings, tells_all=look.all_rows)
    parts += [Text(spell(line)) for line in (*found, *notes)]
    return Group(*parts)


def _optimizer(
    optimizer: OptimizerTrace, look: Look, width: int | None, ascii_only: bool
) -> Iterator[RenderableType]:
    spell = to_ascii if ascii_only else str
    yield Text(spell(optimizer_title(optimizer)), style="bold")
    yield Text(spell(optimizer_subtitle(optimizer)), style="dim")
    if not optimizer.steps:
        yield Text(NO_STEP)
        return
    lines: list[str] = []
    for grid in training_grids(optimizer, look):
        yield from _lines(lines, ascii_only)
        for block in grid_tables(grid, width, ascii_only):
            yield from (Text(), block)
        lines = [*hidden_rows(grid), *rows_remark(grid)]
    losses = [x for x in optimizer.columns["loss"].values if not math.isnan(x)]  # NaN: none is known
    course = sparkline(losses, ascii_only=ascii_only)
    lines += [*hidden_values(optimizer, look), *([f"loss  {course}"] if course else [])]
    yield from _lines(lines, ascii_only)


def _lines(lines: Sequence[str], ascii_only: bool) -> Iterator[RenderableType]:
    """Yield lines below a table, if there are any."""
    if lines:
        yield from (Text(), *(Text(to_ascii(line) if ascii_only else line) for line in lines))


def _faults(
    training: Training, findings: TrainingFindings, look: Look, ascii_only: bool
) -> Iterator[RenderableType]:
    """Yield each fault and remark with its remedy indented below it; where there is no fault, that."""
    spell = to_ascii if ascii_only else str
    if sentence := soundness(training, findings):
        yield Text(spell(sentence))
    if not findings.diagnoses:
        return
    yield Text()
    for diagnosis in told(findings.diagnoses, tells_all=look.all_rows):
        yield Text(spell(printable(diagnosis.fact)), style="red" if diagnosis.is_fault else "yellow")
        yield Padding(Text(spell(printable(diagnosis.remedy))), (0, 0, 0, 2), expand=False)
    yield Text()
