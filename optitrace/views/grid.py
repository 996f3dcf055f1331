"""Grids: text in columns, and the requested columns of a trace as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from optitrace.records.quantity import Per, Quantity
from optitrace.records.trace import Column, Table, TraceRecord
from optitrace.text import format_number
from optitrace.views.display import Display

MOST_COORDINATES = 4
"""A table shows the coordinates of a vector up to here; of a longer one, its norm and the first few."""

FIRST_FEW = 3
"""How many coordinates of a longer vector a table shows."""

NORM = 0
"""Stands in place of a coordinate for the Euclidean norm of all."""


MOST_ROWS = 60
"""A longer trace shows its head and its tail."""

END_ROWS = 20
"""How many rows the head and the tail have."""

LARGEST_COUNT = 2.0**53
"""Up to here every whole number is a float."""

Shown = Callable[[float], str]
"""Returns the text of a number."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column of single numbers.

    Attributes:
        quantity: what it is: ``loss``, ``gradient``, ``weights``, ``lr``, ``update`` or a state entry.
        coordinate: which coordinate, from 1; `NORM` for the norm of all; None for a scalar.
        column: where the numbers are.
        is_change: whether the field is the difference between a row's number and that of the row before.
        is_state: whether it is an entry of the optimizer's state.
        per: what a coordinate is.
        title: the heading of a scalar; the quantity's name if not given.
    """

    quantity: str
    coordinate: int | None
    column: Column
    is_change: bool = False
    is_state: bool = False
    per: Per = Per.COORDINATE
    title: tuple[str, str] | None = None

    @property
    def heading(self) -> tuple[str, str]:
        """The two lines of a table's heading: the quantity, and the weight or the state it belongs to."""
        if self.coordinate is None:
            return self.title or (self.quantity, "state" if self.is_state else "")
        return self.quantity, "norm" if self.coordinate == NORM else self.per.owner(self.coordinate - 1)

    def value(self, row: int) -> float | None:
        """Return the number in a row, or None where there is none."""
        here = self.column.row(row)
        if here is None:
            return None
        if not self.is_change:
            return self._of(here)
        before = self.column.row(row - 1) if row else None
        if before is None:
            return None
        return self._of([after - earlier for after, earlier in zip(here, before, strict=True)])

    def _of(self, numbers: Sequence[float]) -> float:
        if self.coordinate == NORM:
            return math.hypot(*numbers)
        return numbers[0 if self.coordinate is None else self.coordinate - 1]


def fields(quantity: str, column: Column, **more: Any) -> list[Field]:
    """Return the fields of a column: one for a scalar, one for each coordinate of a vector.

    What else is known of them is given by the names of the attributes of `Field`.
    """
    coordinates: Sequence[int | None] = range(1, column.size + 1) if column.shape else [None]
    return [Field(quantity, coordinate, column, **more) for coordinate in coordinates]


def few_fields(quantity: str, column: Column, **more: Any) -> list[Field]:
    """Return the fields of a column that a table shows: of a long vector, the first few.

    Of a vector of coordinates its norm stands before them.
    """
    every = fields(quantity, column, **more)
    if len(every) <= MOST_COORDINATES:
        return every
    norm = [Field(quantity, NORM, column, **more)] if every[0].per is Per.COORDINATE else []
    return [*norm, *every[:FIRST_FEW]]


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
        words: the columns of words, which are set left; others are set right.
        notes: lines to set below.
    """

    headings: Sequence[tuple[str, str]]
    groups: Sequence[int]
    rows: Sequence[Sequence[str]]
    gap: int | None = None
    hidden: int = 0
    labels: int = 1
    words: Sequence[int] = ()
    notes: Sequence[str] = ()


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


def make_grid(trace: TraceRecord, display: Display) -> Grid:
    """Return the grid of a trace: step, loss, gradient, weights, and what else was asked for.

    What clipping and schedules do to a step is shown wherever they are used, beside the loss.
    """
    show = partial(format_number, precision=display.precision)

    def place(quantity: Quantity) -> int:
        return 0 if quantity.name == "loss" else 1 if quantity.is_optional or quantity.name == "lr" else 2

    columns = [step_column(trace.steps)]
    for quantity in sorted(trace.recorded, key=place):
        if quantity.name != "lr" or trace.experiment.schedule is not None:
            columns += quantity_columns(trace, quantity, show)
    if display.update:
        columns += number_columns("update", trace.weights, show, is_change=True)
    if display.state:
        for name, column in trace.state.items():
            per = Per.COORDINATE if column.shape == trace.weights.shape else Per.ELEMENT
            columns += number_columns(name, column, show, per=per, is_state=True)
    return grid_of(columns, len(trace.steps), display)


def are_counts(values: Sequence[float | None]) -> bool:
    """Return whether the numbers there are count something."""
    return all(value is None or (value.is_integer() and 0 <= value <= LARGEST_COUNT) for value in values)


def step_column(steps: Sequence[int]) -> GridColumn:
    """Return the column that says which step a row is."""
    return GridColumn(("step", ""), "step", lambda rows: [str(steps[row]) for row in rows])


def quantity_columns(table: Table, quantity: Quantity, show: Shown) -> list[GridColumn]:
    """Return the columns of a quantity of a table."""
    column, words = table.columns[quantity.name], quantity.words
    shown = (lambda number: words[int(number)]) if words else show
    if quantity.counts:
        shown = _whole
    columns = number_columns(quantity.name, column, shown, per=quantity.per, title=quantity.heading)
    if not quantity.may_lack:
        return columns

    def texts(rows: Sequence[int]) -> list[str]:
        found = zip(rows, columns[0].texts(rows), strict=True)
        return [text if table.numbers(quantity.name, row) else "" for row, text in found]

    return [replace(columns[0], texts=texts)]


def number_columns(name: str, column: Column, show: Shown, **more: Any) -> list[GridColumn]:
    """Return a column for each number of a quantity; for the first few of many."""
    return [
        GridColumn(field.heading, (name, *more.items()), partial(field_texts, field, show))
        for field in few_fields(name, column, **more)
    ]


def field_texts(field: Field, show: Shown, rows: Sequence[int]) -> list[str]:
    """Return the cells of a field; a scalar entry of the state that only counts has no decimals."""
    values = [field.value(row) for row in rows]
    if field.is_state and field.coordinate is None and are_counts(values):
        return ["" if value is None else str(int(value)) for value in values]
    return ["" if value is None else show(value) for value in values]


def _whole(number: float) -> str:
    return str(int(number)) if math.isfinite(number) else str(number)
