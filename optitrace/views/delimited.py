"""Traces as CSV and TSV: exact numbers, a column for each coordinate, empty where there is no value."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from optitrace.records.trace import Trace
from optitrace.records.trace_writer import exact
from optitrace.views.fields import Field, all_fields


def csv_chunks(trace: Trace) -> Iterator[str]:
    """Yield a trace as CSV, a line at a time."""
    return _lines(trace, ",")


def tsv_chunks(trace: Trace) -> Iterator[str]:
    """Yield a trace as tab-separated values, a line at a time."""
    return _lines(trace, "\t")


def delimited(rows: Iterable[Sequence[object]], delimiter: str) -> Iterator[str]:
    """Yield rows as delimited text, a line at a time: numbers exact, nothing where there is no value.

    A text that a spreadsheet would compute as a formula has an apostrophe before it, and is text there.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    for row in rows:
        writer.writerow(map(_cell, row))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


FORMULA_SIGNS = ("=", "+", "-", "@")
"""What begins a formula in a spreadsheet."""


def cell_text(text: str, delimiter: str) -> str:
    """Return a text as a cell of delimited text."""
    return next(delimited([[text]], delimiter)).removesuffix("\n")


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_SIGNS) else value
    return exact(value) if isinstance(value, float) else value


def _lines(trace: Trace, delimiter: str) -> Iterator[str]:
    columns = all_fields(trace)
    rows = ([step, *(column.value(row) for column in columns)] for row, step in enumerate(trace.steps))
    return delimited(chain([_names(columns)], rows), delimiter)


def _names(columns: list[Field]) -> list[str]:
    """Return the header; a state entry whose name is taken, as Adam's step, is ``state_step``."""
    names = ["step"]
    for column in columns:
        name = column.quantity if column.coordinate is None else f"{column.quantity}_{column.coordinate}"
        names.append(f"state_{name}" if column.is_state and name in names else name)
    return names
