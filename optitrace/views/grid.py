"""Grids: the requested columns of a trace, or of an optimizer of a training, as text in cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from optitrace.records.quantity import Per, Quantity
from optitrace.records.trace import Column, Table, TraceRecord
from optitrace.records.training import WITHOUT_LOSS, OptimizerTrace
from optitrace.text import format_number, format_significant
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

PARTS = END_ROWS - 1
"""Into how many parts the rows of a long training are divided, after the first and before the last."""

LARGEST_COUNT = 2.0**53
"""Up to here every whole number is a float."""

_Shown = Callable[[float], str]
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


def make_grid(trace: TraceRecord, display: Display) -> Grid:
    """Return the grid of a trace: step, loss, gradient, weights, and what else was asked for.

    What clipping and schedules do to a step is shown wherever they are used, beside the loss.
    """
    show = partial(format_number, precision=display.precision)

    def place(quantity: Quantity) -> int:
        return 0 if quantity.name == "loss" else 1 if quantity.is_optional or quantity.name == "lr" else 2

    columns = [_step_column(trace.steps)]
    for quantity in sorted(trace.recorded, key=place):
        if quantity.name != "lr" or trace.experiment.schedule is not None:
            columns += _of_quantity(trace, quantity, show)
    if display.update:
        columns += _of_column("update", trace.weights, show, is_change=True)
    if display.state:
        for name, column in trace.state.items():
            per = Per.COORDINATE if column.shape == trace.weights.shape else Per.ELEMENT
            columns += _of_column(name, column, show, per=per, is_state=True)
    return grid_of(columns, len(trace.steps), display)


def training_grids(optimizer: OptimizerTrace, display: Display) -> list[Grid]:
    """Return the grid of an optimizer; beside rows of parameters, one of what those have no place for."""
    grids = [training_grid(optimizer, display)]
    if _is_by_parameter(optimizer, display) and (beside := _asked_for(optimizer, display)):
        grids.append(_grid_of_steps(optimizer, beside, display))
    return grids


def training_grid(optimizer: OptimizerTrace, display: Display) -> Grid:
    """Return the grid of an optimizer: a row a step, or, where that was asked for, a row a parameter.

    What is the same in every step, such as that gradients are fresh, is left out.
    """
    if _is_by_parameter(optimizer, display):
        return _parameter_grid(optimizer, display)
    rows, show = rows_shown(optimizer, display), _significant(display)
    columns: list[GridColumn] = []
    for quantity in optimizer.recorded:
        if quantity.name == "lr":
            columns += _rates(optimizer.columns["lr"], rows, display)
        elif not _says_nothing(optimizer, quantity):
            columns += _of_quantity(optimizer, quantity, show)
    columns += _asked_for(optimizer, display)
    return _grid_of_steps(optimizer, columns, display)


def rows_shown(optimizer: OptimizerTrace, display: Display) -> Sequence[int]:
    """Return which rows of a table of steps are shown: all, or of many the first ones, some, and the last.

    Of each of `PARTS` equal parts of the rows between, it is the first with the greatest loss, of which one
    that is not a number is the greatest, so that no leap is left out.
    """
    last = len(optimizer.steps) - 1
    if last < MOST_ROWS or display.all_rows:
        return range(last + 1)
    losses = optimizer.columns["loss"]

    def height(row: int) -> float:
        (loss,) = losses.row(row) or (math.nan,)
        return math.inf if math.isnan(loss) else loss

    bounds = [END_ROWS + (last - END_ROWS) * k // PARTS for k in range(PARTS + 1)]
    return [*range(END_ROWS), *(max(range(a, b), key=height) for a, b in pairwise(bounds)), last]


def rows_remark(grid: Grid) -> list[str]:
    """Return the line that says which of the hidden rows are shown, if `rows_shown` has chosen them."""
    if not grid.hidden or grid.labels > 1:
        return []
    return [f"after row {END_ROWS}, each of {PARTS} equal parts shows its row with the greatest loss"]


def hidden_values(optimizer: OptimizerTrace, display: Display) -> list[str]:
    """Return a line for each column of which not every number is shown."""
    several = {**(optimizer.state if display.state else {}), **optimizer.values}
    rates = optimizer.columns.get("lr")
    if rates is not None and not _is_by_parameter(optimizer, display):
        several = {**({} if _are_one(rates, range(len(optimizer.steps))) else {"lr": rates}), **several}
    return [
        f"only the first {FIRST_FEW} of {column.size} numbers of {name} are shown; output files have all"
        for name, column in several.items()
        if column.size > MOST_COORDINATES
    ]


def are_counts(values: Sequence[float | None]) -> bool:
    """Return whether the numbers there are count something."""
    return all(value is None or (value.is_integer() and 0 <= value <= LARGEST_COUNT) for value in values)


def _significant(display: Display) -> _Shown:
    return partial(format_significant, digits=display.digits)


def _whole(number: float) -> str:
    return str(int(number)) if math.isfinite(number) else str(number)


def _step_column(steps: Sequence[int]) -> GridColumn:
    """Return the column that says which step a row is."""
    return GridColumn(("step", ""), "step", lambda rows: [str(steps[row]) for row in rows])


def _of_quantity(table: Table, quantity: Quantity, show: _Shown) -> list[GridColumn]:
    """Return the columns of a quantity of a table."""
    column, words = table.columns[quantity.name], quantity.words
    shown = (lambda number: words[int(number)]) if words else show
    if quantity.counts:
        shown = _whole
    columns = _of_column(quantity.name, column, shown, per=quantity.per, title=quantity.heading)
    if not quantity.may_lack:
        return columns

    def texts(rows: Sequence[int]) -> list[str]:
        found = zip(rows, columns[0].texts(rows), strict=True)
        return [text if table.numbers(quantity.name, row) else "" for row, text in found]

    return [replace(columns[0], texts=texts)]


def _of_column(name: str, column: Column, show: _Shown, **more: Any) -> list[GridColumn]:
    """Return a column for each number of a quantity; for the first few of many."""
    return [
        GridColumn(field.heading, (name, *more.items()), partial(_texts, field, show))
        for field in few_fields(name, column, **more)
    ]


def _texts(field: Field, show: _Shown, rows: Sequence[int]) -> list[str]:
    """Return the cells of a field; a scalar entry of the state that only counts has no decimals."""
    values = [field.value(row) for row in rows]
    if field.is_state and field.coordinate is None and are_counts(values):
        return ["" if value is None else str(int(value)) for value in values]
    return ["" if value is None else show(value) for value in values]


def _says_nothing(optimizer: OptimizerTrace, quantity: Quantity) -> bool:
    """Return whether a quantity is the same in every step: no loss at all, or fresh gradients alone."""
    if quantity.may_lack:
        return set(optimizer.gradients) <= set(WITHOUT_LOSS)
    kinds = optimizer.columns[quantity.name].values if quantity.words else ()
    return bool(quantity.words) and all(quantity.words[int(kind)] == "fresh" for kind in kinds)


def _grid_of_steps(optimizer: OptimizerTrace, columns: Sequence[GridColumn], display: Display) -> Grid:
    rows = rows_shown(optimizer, display)
    return grid_of([_step_column(optimizer.steps), *columns], len(optimizer.steps), display, rows=rows)


def _is_by_parameter(optimizer: OptimizerTrace, display: Display) -> bool:
    return display.by_parameter and bool(optimizer.by_parameter)


def _asked_for(optimizer: OptimizerTrace, display: Display) -> list[GridColumn]:
    """Return the requested columns: the state, and the values of parameters."""
    show, per = _significant(display), optimizer.ENTRY
    columns: list[GridColumn] = []
    for name, column in optimizer.state.items() if display.state else ():
        columns += _of_column(name, column, show, per=per, is_state=True)
    for name, column in optimizer.values.items():
        columns += _of_column(name, column, show, per=per)
    return columns


def _parameter_grid(optimizer: OptimizerTrace, display: Display) -> Grid:
    """Return a grid with a row for each parameter of each step."""
    names, steps = optimizer.recorded_parameters, optimizer.steps
    count = len(names)
    columns = [
        GridColumn(("step", ""), "step", lambda rows: [str(steps[row // count]) for row in rows]),
        GridColumn(("parameter", ""), "parameter", lambda rows: [names[row % count] for row in rows]),
    ]
    for quantity in optimizer.recorded:
        if quantity.each_parameter:
            each = optimizer.by_parameter[quantity.name]
            flat = Column(each.values, (), each.first * each.size)
            columns += _of_column(quantity.name, flat, _significant(display), title=quantity.heading)
    return grid_of(columns, len(steps) * count, display, labels=2)


def _rates(column: Column, rows: Sequence[int], display: Display) -> list[GridColumn]:
    """Return the columns of the learning rate: one, or one for each group where they are not alike."""
    digits = display.digits
    found = [Field("lr", None, column)] if _are_one(column, rows) else few_fields("lr", column, per=Per.GROUP)
    return [GridColumn(f.heading, "lr", partial(_texts, f, lambda x: f"{x:.{digits}g}")) for f in found]


def _are_one(column: Column, rows: Sequence[int]) -> bool:
    return not column.shape or all(len(set(column.row(row) or ())) <= 1 for row in rows)
