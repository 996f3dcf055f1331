"""The grid: the part of a trace that a person wants to see, as text in cells."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

from optitrace.records.trace import Trace
from optitrace.text.number_format import format_number
from optitrace.views.display import Display
from optitrace.views.fields import Field, few_fields

MOST_ROWS = 60
"""A longer trace shows its head and its tail."""

END_ROWS = 20
"""How many rows the head and the tail have."""

LARGEST_COUNT = 2.0**53
"""Up to here every whole number is a float."""


@dataclass(frozen=True, slots=True)
class GridColumn:
    """A column to be shown.

    Attributes:
        heading: the quantity, and what it belongs to.
        quantity: what it is part of: columns of one are kept together.
        texts: returns its cells in some rows.
    """

    heading: tuple[str, str]
    quantity: Hashable
    texts: Callable[[Sequence[int]], list[str]]


@dataclass(frozen=True, slots=True)
class Grid:
    """Text in columns.

    Attributes:
        headings: two lines for each column: the quantity, and the weight it belongs to.
        groups: for each column, the number of the quantity that it is part of.
        rows: the cells.
        gap: the row before which rows are left out; None if all are there.
        hidden: how many rows are left out.
        labels: how many of the first columns say what a row is about; they stand beside all others.
    """

    headings: Sequence[tuple[str, str]]
    groups: Sequence[int]
    rows: Sequence[Sequence[str]]
    gap: int | None = None
    hidden: int = 0
    labels: int = 1


def visible_rows(count: int, display: Display) -> Sequence[int]:
    """Return which of so many rows are shown: all, or the head and the tail of a long table."""
    if count <= MOST_ROWS or display.all_rows:
        return range(count)
    return [*range(END_ROWS), *range(count - END_ROWS, count)]


def grid_of(
    columns: Sequence[GridColumn], count: int, display: Display, *, labels: int = 1, rows: Sequence[int] = ()
) -> Grid:
    """Return the grid of some columns, which have so many rows; of those given, if not of `visible_rows`."""
    rows = rows or visible_rows(count, display)
    hidden = count - len(rows)
    quantities = [column.quantity for column in columns]
    return Grid(
        headings=[column.heading for column in columns],
        groups=[quantities.index(quantity) for quantity in quantities],
        rows=list(zip(*(column.texts(rows) for column in columns), strict=True)),
        gap=END_ROWS if hidden else None,
        hidden=hidden,
        labels=labels,
    )


def make_grid(trace: Trace, display: Display) -> Grid:
    """Return the grid of a trace: step, loss, gradient, weights, and what else was asked for.

    What clipping and schedules do to a step is shown wherever they are used.
    """
    shown = few_fields("loss", trace.loss)
    if trace.experiment.schedule is not None:
        shown += few_fields("lr", trace.lr)
    for name, column in trace.beside.items():
        shown += few_fields(name, column)
    shown += few_fields("gradient", trace.gradient) + few_fields("weights", trace.weights)
    if display.update:
        shown += few_fields("update", trace.weights, is_change=True)
    if display.state:
        for name, column in trace.state.items():
            shown += few_fields(name, column, is_state=True)
    columns = [step_column(trace.steps)]
    columns += [
        GridColumn(field.heading, (field.quantity, field.is_state), partial(_texts, field, display.precision))
        for field in shown
    ]
    return grid_of(columns, len(trace.steps), display)


def step_column(steps: Sequence[int]) -> GridColumn:
    """Return the column that says which step a row is."""
    return GridColumn(("step", ""), ("step", False), lambda rows: [str(steps[row]) for row in rows])


def _texts(field: Field, precision: int, rows: Sequence[int]) -> list[str]:
    """Return the cells of a field; a scalar entry of the state that only counts has no decimals."""
    values = [field.value(row) for row in rows]
    if field.is_state and field.coordinate is None and are_counts(values):
        return ["" if value is None else str(int(value)) for value in values]
    return ["" if value is None else format_number(value, precision) for value in values]


def are_counts(values: Sequence[float | None]) -> bool:
    """Return whether the numbers there are count something."""
    return all(value is None or (value.is_integer() and 0 <= value <= LARGEST_COUNT) for value in values)
