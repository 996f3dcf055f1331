"""The text formats: the table of a terminal, JSON, lines of JSON, CSV and TSV; their numbers are exact."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from math import isfinite

from optitrace.records.writer import exact
from optitrace.rules.hyperparameter import show
from optitrace.views.display import Display
from optitrace.views.formats import HasJson, HasJsonLines, HasRows, Presenter, Writer

FORMULA_SIGNS = ("=", "+", "-", "@")
"""What begins a formula in a spreadsheet."""


def write_table(result: Presenter, display: Display) -> Iterator[str]:
    """Yield the table of a result."""
    from optitrace.views.tables import plain_text

    yield plain_text(result.table(display))


def write_json(result: HasJson, display: Display) -> Iterator[str]:
    """Return a result as JSON."""
    return result.json(display)


def write_json_lines(result: HasJsonLines, display: Display) -> Iterator[str]:
    """Return a result as lines of JSON."""
    return result.json_lines(display)


def write_csv(result: HasRows, display: Display) -> Iterator[str]:
    """Yield the rows of a result as comma-separated values, a line at a time."""
    return _delimited(result, ",")


def write_tsv(result: HasRows, display: Display) -> Iterator[str]:
    """Yield the rows of a result as tab-separated values, a line at a time."""
    return _delimited(result, "\t")


def _delimited(result: HasRows, delimiter: str) -> Iterator[str]:
    writer = csv.writer(_Line(), delimiter=delimiter, lineterminator="\n")
    for row in result.rows():
        yield writer.writerow(map(_cell, row))  # what `write` returns


class _Line:
    """A file that returns what is written to it."""

    def write(self, line: str) -> str:
        return line


def _cell(value: object) -> object:
    """Return a value as a cell has it.

    A text that a spreadsheet would compute as a formula has an apostrophe before it, and is text there.
    """
    if isinstance(value, float):
        return value if isfinite(value) else exact(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_SIGNS) else value
    if isinstance(value, bool | tuple):
        return show(value).replace(",", ";")
    return value


WRITERS = (
    Writer("table", ".txt", Presenter, write_table),
    Writer("json", ".json", HasJson, write_json),
    Writer("jsonl", ".jsonl", HasJsonLines, write_json_lines),
    Writer("csv", ".csv", HasRows, write_csv),
    Writer("tsv", ".tsv", HasRows, write_tsv),
)
