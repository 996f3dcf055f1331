"""The formats in which a training can be written; their names and suffixes are those of a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from optitrace.records.findings import TrainingFindings
from optitrace.records.training import Training
from optitrace.records.writer import json_chunks, jsonl_chunks, own_fields
from optitrace.views.delimited import delimited, record_rows
from optitrace.views.grid import Look, training_grids
from optitrace.views.html import html_grid
from optitrace.views.markdown import escaped, markdown_table
from optitrace.views.training_extent import extent
from optitrace.views.training_wording import (
    NO_STEP,
    closing_lines,
    optimizer_subtitle,
    optimizer_title,
    program_line,
)

if TYPE_CHECKING:
    from rich.text import Text


def training_chunks(
    training: Training,
    findings: TrainingFindings,
    name: str,
    look: Look,
    notes: Sequence[str] = (),
    plot: Text | None = None,
) -> Iterator[str]:
    """Yield a training as text in a format, piece by piece, at the width that it needs.

    A plot is a part of a table; the other formats have no place for it.
    """
    if name == "table":
        return _plain_tables(training, findings, look, notes, plot)
    if name == "markdown":
        return _markdown(training, findings, look)
    if name in ("csv", "tsv"):
        return delimited(record_rows(training), "," if name == "csv" else "\t")
    write = {"json": json_chunks, "jsonl": jsonl_chunks}[name]
    return write(training, own_fields(findings))


def training_html(training: Training, findings: TrainingFindings, look: Look) -> str:
    """Return a training as an HTML fragment, for a notebook: a table for each optimizer, and what follows."""
    blocks = [escape(program_line(training))]
    shown = extent(training.optimizers, shows_all=look.all_rows)
    for place, optimizer in enumerate(shown.optimizers):
        if place == shown.gap:
            blocks.append(f"{escape(shown.line)}<br>")
        title, subtitle = escape(optimizer_title(optimizer)), escape(optimizer_subtitle(optimizer))
        grids = training_grids(optimizer, look) if optimizer.steps else ()
        table = "\n".join(map(html_grid, grids)) or f"<br>{NO_STEP}"
        blocks.append(f"<b>{title}</b><br>{subtitle}\n{table}\n")
    blocks.append("<br>".join(map(escape, closing_lines(training, findings, tells_all=look.all_rows))))
    return f"<div>{'<br>'.join(filter(None, blocks))}</div>"


def _markdown(training: Training, findings: TrainingFindings, look: Look) -> Iterator[str]:
    if program := program_line(training):
        yield f"{escaped(program)}\n\n"
    shown = extent(training.optimizers, shows_all=look.all_rows)
    for place, optimizer in enumerate(shown.optimizers):
        if place == shown.gap:
            yield f"{escaped(shown.line)}\n\n"
        yield f"**{escaped(optimizer_title(optimizer))}**, {escaped(optimizer_subtitle(optimizer))}\n\n"
        if not optimizer.steps:
            yield f"{NO_STEP}\n\n"
            continue
        for grid in training_grids(optimizer, look):
            yield from markdown_table(grid)
            yield "\n"
    yield from (f"{escaped(line)}\n" for line in closing_lines(training, findings, tells_all=look.all_rows))


def _plain_tables(
    training: Training, findings: TrainingFindings, look: Look, notes: Sequence[str], plot: Text | None
) -> Iterator[str]:
    from optitrace.views.plain import plain_text
    from optitrace.views.training_table import render_training

    yield plain_text(render_training(training, findings, look, notes=notes, plot=plot))
