"""The grid: the part of a trace that a person wants to see, as text in cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optitrace.rules.numerals import format_number
from optitrace.tracing.trace import Trace
from optitrace.views.fields import Field, few_fields

MOST_ROWS = 60
"""A longer trace shows its head and its tail."""

END_ROWS = 20
"""How many rows the head and the tail have."""

LARGEST_COUNT = 2.0**53
"""Up to here every whole number is a float."""


@dataclass(frozen=True, slots=True)
class Look:
    """What of a trace a person wants to see, and how.

    Attributes:
        precision: decimals of each number.
        state: whether the optimizer's state is shown.
        update: whether the change of the weights since the row before is shown.
        all_rows: whether every row is shown, however many there are.
    """

    precision: int = 4
    state: bool = False
    update: bool = False
    all_rows: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """Text in columns.

    Attributes:
        headings: two lines for each column: the quantity, and the weight it belongs to.
        groups: for each column, the number of the quantity that it is part of.
        rows: the cells.
        gap: the row before which rows are left out; None if all are there.
        hidden: how many rows are left out.
    """

    headings: Sequence[tuple[str, str]]
    groups: Sequence[int]
    rows: Sequence[Sequence[str]]
    gap: int | None = None
    hidden: int = 0


def visible_rows(count: int, look: Look) -> list[int]:
    """Return which of so many rows are shown: all, or the head and the tail of a long table."""
    rows = list(range(count))
    if len(rows) <= MOST_ROWS or look.all_rows:
        return rows
    return rows[:END_ROWS] + rows[-END_ROWS:]


def make_grid(trace: Trace, look: Look) -> Grid:
    """Return the grid of a trace: step, loss, gradient, weights, and what else was asked for.

    What clipping and schedules do to a step is shown wherever they are used.
    """
    shown = few_fields("loss", trace.loss)
    if trace.experiment.schedule is not None:
        shown += few_fields("lr", trace.lr)
    for name, column in trace.beside.items():
        shown += few_fields(name, column)
    shown += few_fields("gradient", trace.gradient) + few_fields("weights", trace.weights)
    if look.update:
        shown += few_fields("update", trace.weights, is_change=True)
    if look.state:
        for name, column in trace.state.items():
            shown += few_fields(name, column, is_state=True)
    rows = visible_rows(len(trace.steps), look)
    hidden = len(trace.steps) - len(rows)
    columns = [[str(trace.steps[row]) for row in rows]]
    columns += [_texts(field, rows, look.precision) for field in shown]
    quantities = [("step", False), *((field.quantity, field.is_state) for field in shown)]
    return Grid(
        headings=[("step", ""), *(field.heading for field in shown)],
        groups=[quantities.index(quantity) for quantity in quantities],
        rows=list(zip(*columns, strict=True)),
        gap=END_ROWS if hidden else None,
        hidden=hidden,
    )


def _texts(field: Field, rows: Sequence[int], precision: int) -> list[str]:
    """Return the cells of a field; a scalar entry of the state that only counts has no decimals."""
    values = [field.value(row) for row in rows]
    if field.is_state and field.coordinate is None and all(v is None or _is_count(v) for v in values):
        return ["" if value is None else str(int(value)) for value in values]
    return ["" if value is None else format_number(value, precision) for value in values]


def _is_count(value: float) -> bool:
    return value.is_integer() and 0 <= value <= LARGEST_COUNT
