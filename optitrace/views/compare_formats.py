"""Runs side by side for a script: JSON, CSV, TSV and Markdown of the summary or of one quantity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields as dataclass_fields
from typing import Any

from rich.text import Text

from optitrace.analysis.comparison import Comparison, Summary
from optitrace.experiment.text import text_of
from optitrace.records.writer import exact_all
from optitrace.views.compare_table import closing_lines, compare_table, learning_rates, summary_cells
from optitrace.views.delimited import delimited
from optitrace.views.formats import PICTURES
from optitrace.views.grid import Grid, Look
from optitrace.views.markdown import escaped, markdown_table
from optitrace.views.plain import plain_text
from optitrace.views.side_by_side import all_steps, quantity_fields, row_numbers, side_by_side

COMPARE_FORMATS = ("table", "json", "csv", "tsv", "markdown", *PICTURES)
"""The formats in which a comparison can be written."""


def compare_chunks(
    comparison: Comparison, format: str, quantity: str, look: Look, plot: Text | None = None
) -> Iterator[str]:
    """Yield a comparison in a format that is no picture.

    Of CSV and TSV that is the quantity step by step, if one is asked for. Only a table
    has a place for a plot.
    """
    if format == "json":
        yield json.dumps(_as_data(comparison, quantity), ensure_ascii=False, indent=2) + "\n"
    elif format == "markdown":
        yield from _markdown(comparison, quantity, look)
    elif format == "table":
        yield plain_text(compare_table(comparison, look, quantity=quantity, plot=plot))
    else:
        rows = _step_rows(comparison, quantity) if quantity else _summary_rows(comparison)
        yield from delimited(rows, "," if format == "csv" else "\t")


def _as_data(comparison: Comparison, quantity: str) -> dict[str, Any]:
    runs = [_summary(summary) for summary in comparison.summaries]
    if quantity:
        for run, named in zip(runs, comparison.traces, strict=True):
            column = named.trace.columns[quantity]
            rows = [column.row(row) for row in range(len(named.trace.steps))]
            run["step"] = list(named.trace.steps)
            run[quantity] = [row if row is None or column.shape else row[0] for row in rows]
    return {"tolerance": comparison.tolerance, "runs": exact_all(runs)}


def _summary(summary: Summary) -> dict[str, Any]:
    data = {field.name: getattr(summary, field.name) for field in dataclass_fields(summary)}
    data["experiment"] = text_of(summary.experiment)
    data["lr"] = summary.experiment.hyperparameters.get("lr")
    return data


def _summary_rows(comparison: Comparison) -> Iterator[Sequence[Any]]:
    rows = [_summary(summary) for summary in comparison.summaries]
    yield list(rows[0])
    for row in rows:
        yield list(row.values())


def _step_rows(comparison: Comparison, quantity: str) -> Iterator[Sequence[Any]]:
    """Yield a header, and a row for each step with the numbers of every run."""
    members = quantity_fields(comparison.traces, quantity)
    header = ["step"]
    for named, run in zip(comparison.traces, members, strict=True):
        header += [named.name if f.coordinate is None else f"{named.name} w{f.coordinate}" for f in run]
    yield header
    rows = [row_numbers(named) for named in comparison.traces]
    for step in all_steps(comparison.traces):
        values: list[Any] = [step]
        for own, run in zip(rows, members, strict=True):
            values += [field.value(own[step]) if step in own else None for field in run]
        yield values


def _markdown(comparison: Comparison, quantity: str, look: Look) -> Iterator[str]:
    headings, rows = summary_cells(comparison, look.precision)
    yield f"{escaped(learning_rates(comparison))}\n\n"
    yield from markdown_table(Grid([(heading, "") for heading in headings], range(len(headings)), rows))
    if quantity:
        yield f"\n{quantity} at each step\n\n"
        yield from markdown_table(side_by_side(comparison.traces, quantity, look))
    yield "\n" + "".join(f"{escaped(line)}\n" for line in closing_lines(comparison))
