"""One quantity of several runs, a block of columns each, row beside row at the same step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optitrace.records.trace import NamedTrace
from optitrace.text.number_format import format_number
from optitrace.views.display import Display
from optitrace.views.fields import Field, fields
from optitrace.views.grid import END_ROWS, Grid, visible_rows

QUANTITIES = ("loss", "gradient", "weights")
"""The quantities that can be set side by side."""


def side_by_side(traces: Sequence[NamedTrace], quantity: str, display: Display) -> Grid:
    """Return a quantity of several runs as a grid."""
    steps = all_steps(traces)
    shown = [steps[row] for row in visible_rows(len(steps), display)]
    hidden = len(steps) - len(shown)
    headings, groups, columns = [("step", "")], [0], [[str(step) for step in shown]]
    for number, (named, members) in enumerate(zip(traces, quantity_fields(traces, quantity), strict=True)):
        rows = row_numbers(named)
        for field in members:
            headings.append((named.name, field.heading[1]))
            groups.append(number + 1)
            columns.append([_text(field, rows.get(step), display.precision) for step in shown])
    return Grid(
        headings=headings,
        groups=groups,
        rows=list(zip(*columns, strict=True)),
        gap=END_ROWS if hidden else None,
        hidden=hidden,
    )


def all_steps(traces: Sequence[NamedTrace]) -> list[int]:
    """Return every step that one of the runs recorded."""
    return sorted(set().union(*(named.trace.steps for named in traces)))


def quantity_fields(traces: Sequence[NamedTrace], quantity: str) -> list[list[Field]]:
    """Return the fields of a quantity, of each run."""
    return [fields(quantity, named.trace.columns[quantity]) for named in traces]


def row_numbers(named: NamedTrace) -> Mapping[int, int]:
    """Return the row of each step that a run recorded."""
    return {step: row for row, step in enumerate(named.trace.steps)}


def _text(field: Field, row: int | None, precision: int) -> str:
    value = None if row is None else field.value(row)
    return "" if value is None else format_number(value, precision)
