"""The grid of a training: what a person wants to see of one optimizer, as text in cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from optitrace.records.trace import Column
from optitrace.records.training import KINDS, OF_A_PARAMETER, WITHOUT_LOSS, OptimizerTrace
from optitrace.text.number_format import format_significant
from optitrace.views.display import Display
from optitrace.views.fields import FIRST_FEW, MOST_COORDINATES
from optitrace.views.grid import (
    END_ROWS,
    MOST_ROWS,
    Grid,
    GridColumn,
    are_counts,
    grid_of,
    step_column,
)

HEADINGS = {
    "loss": ("loss", ""),
    "gradient_norm": ("gradient", "norm"),
    "unclipped_gradient_norm": ("unclipped", "gradient"),
    "update_norm": ("update", "norm"),
    "weight_norm": ("weight", "norm"),
    "update_ratio": ("update", "/ weight"),
}
"""The headings of columns of one number a step."""

PARTS = END_ROWS - 1
"""Into how many parts the rows of a long table are divided, after the first and before the last."""

FRESH = KINDS.index("fresh")

Cells = Callable[[Sequence[int]], list[str]]


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
    rows = rows_shown(optimizer, display)
    columns = []
    if not set(optimizer.gradients) <= set(WITHOUT_LOSS):
        columns.append(_named("loss", _losses(optimizer, _digits(display))))
    if "lr" in optimizer.columns:
        columns += _rates(optimizer.columns["lr"], rows, _digits(display))
    if any(kind != FRESH for kind in optimizer.columns["gradient"].values):
        columns.append(GridColumn(("gradient", ""), "kind", lambda shown: list(map(optimizer.kind, shown))))
    for name in list(HEADINGS)[1:]:
        if name in optimizer.columns:
            columns.append(_named(name, _numbers(optimizer.columns[name], 0, _digits(display))))
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
    rates = optimizer.columns.get("lr")
    several = {**(optimizer.state if display.state else {}), **optimizer.values}
    if (
        rates is not None
        and rates.size > MOST_COORDINATES
        and not _is_by_parameter(optimizer, display)
        and not _are_one(rates, range(len(optimizer.steps)))
    ):
        several = {"lr": rates, **several}
    return [
        f"of {column.size} numbers of {name} the first {FIRST_FEW} are shown; files hold all"
        for name, column in several.items()
        if column.size > MOST_COORDINATES
    ]


def _grid_of_steps(optimizer: OptimizerTrace, columns: Sequence[GridColumn], display: Display) -> Grid:
    rows = rows_shown(optimizer, display)
    return grid_of([step_column(optimizer.steps), *columns], len(optimizer.steps), display, rows=rows)


def _is_by_parameter(optimizer: OptimizerTrace, display: Display) -> bool:
    return display.by_parameter and bool(optimizer.by_parameter)


def _asked_for(optimizer: OptimizerTrace, display: Display) -> list[GridColumn]:
    """Return the columns that are there by a person's wish: the state, and the values of parameters."""
    columns: list[GridColumn] = []
    if display.state:
        for name, column in optimizer.state.items():
            columns += _several(name, column, "state", _digits(display))
    for name, column in optimizer.values.items():
        columns += _several(name, column, "", _digits(display))
    return columns


def _parameter_grid(optimizer: OptimizerTrace, display: Display) -> Grid:
    """Return a grid with a row for each parameter of each step."""
    names = optimizer.recorded_parameters
    count = len(names)
    columns = [
        GridColumn(("step", ""), "step", lambda rows: [str(optimizer.steps[row // count]) for row in rows]),
        GridColumn(("parameter", ""), "parameter", lambda rows: [names[row % count] for row in rows]),
    ]
    columns += [
        _named(name, _numbers(_flat(optimizer.by_parameter[name]), 0, _digits(display)))
        for name in OF_A_PARAMETER
    ]
    return grid_of(columns, len(optimizer.steps) * count, display, labels=2)


def _flat(column: Column) -> Column:
    return Column(column.values, (), column.first * column.size)


def _named(name: str, texts: Cells) -> GridColumn:
    return GridColumn(HEADINGS[name], name, texts)


def _several(name: str, column: Column, what: str, digits: int) -> list[GridColumn]:
    """Return a column for each number of a quantity; for the first few of many."""
    if not column.shape:
        texts = _counts_or_numbers if what == "state" else _numbers
        return [GridColumn((name, what), (name, what), texts(column, 0, digits))]
    shown = column.size if column.size <= MOST_COORDINATES else FIRST_FEW
    return [
        GridColumn((name, f"[{place}]"), (name, what), _numbers(column, place, digits))
        for place in range(shown)
    ]


def _rates(column: Column, rows: Sequence[int], digits: int) -> list[GridColumn]:
    """Return the columns of the learning rate: one, or one for each group where they are not alike."""

    def texts(place: int) -> Cells:
        return lambda rows: ["" if r is None else f"{r[place]:.{digits}g}" for r in map(column.row, rows)]

    if _are_one(column, rows):
        return [GridColumn(("lr", ""), "lr", texts(0))]
    shown = column.size if column.size <= MOST_COORDINATES else FIRST_FEW
    return [GridColumn(("lr", f"group {place}"), "lr", texts(place)) for place in range(shown)]


def _are_one(column: Column, rows: Sequence[int]) -> bool:
    return not column.shape or all(len(set(column.row(row) or ())) <= 1 for row in rows)


def _losses(optimizer: OptimizerTrace, digits: int) -> Cells:
    """Return the losses; nothing where the gradient comes from none."""
    texts = _numbers(optimizer.columns["loss"], 0, digits)

    def cells(rows: Sequence[int]) -> list[str]:
        return [text if optimizer.has_loss(row) else "" for row, text in zip(rows, texts(rows), strict=True)]

    return cells


def _numbers(column: Column, place: int, digits: int) -> Cells:
    """Return one number of each row."""

    def cells(rows: Sequence[int]) -> list[str]:
        found = map(column.row, rows)
        return ["" if row is None else format_significant(row[place], digits) for row in found]

    return cells


def _counts_or_numbers(column: Column, place: int, digits: int) -> Cells:
    """Return one number of each row; of an entry that only counts, as Adam's step, whole numbers."""
    texts = _numbers(column, place, digits)

    def cells(rows: Sequence[int]) -> list[str]:
        values = [None if row is None else row[place] for row in map(column.row, rows)]
        if not are_counts(values):
            return texts(rows)
        return ["" if value is None else str(int(value)) for value in values]

    return cells


def _digits(display: Display) -> int:
    return max(1, display.precision)
