"""The grids of a training: a row a step, a stretch of steps, a parameter, or a parameter of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optitrace.records.trace import Column
from optitrace.records.training import OptimizerTrace
from optitrace.views.display import Display
from optitrace.views.grid import (
    FIRST_FEW,
    MOST_COORDINATES,
    MOST_ROWS,
    Grid,
    GridColumn,
    grid_of,
    number_columns,
    quantity_columns,
    step_column,
)
from optitrace.views.parameter_grid import parameter_grid
from optitrace.views.stretch_grid import last_of_stretches, stretch_grid
from optitrace.views.training_columns import (
    are_alike,
    rate_columns,
    requested_columns,
    says_nothing,
    significant,
)


def training_grids(optimizer: OptimizerTrace, display: Display) -> list[Grid]:
    """Return the grid of an optimizer; beside rows of parameters, one of what those have no place for."""
    grids = [training_grid(optimizer, display)]
    if _is_by_parameter(optimizer, display) and (beside := requested_columns(optimizer, display)):
        grid_of_columns = last_of_stretches if _is_long(optimizer, display) else _grid_of_steps
        grids.append(grid_of_columns(optimizer, beside, display))
    return grids


def training_grid(optimizer: OptimizerTrace, display: Display) -> Grid:
    """Return the grid of an optimizer: a row a step, or, where that was asked for, a row a parameter.

    A row of a long training is a stretch of steps, unless all rows were asked for; then each parameter has a
    row in each step. What is the same in every step, such as that gradients are fresh, is left out.
    """
    if _is_by_parameter(optimizer, display):
        return (_steps_of_parameters if display.all_rows else parameter_grid)(optimizer, display)
    if _is_long(optimizer, display):
        return stretch_grid(optimizer, display)
    rows, show = range(len(optimizer.steps)), significant(display)
    columns: list[GridColumn] = []
    for quantity in optimizer.recorded:
        if quantity.name == "lr":
            columns += rate_columns(optimizer.columns["lr"], rows, display)
        elif not says_nothing(optimizer, quantity):
            columns += quantity_columns(optimizer, quantity, show)
    columns += requested_columns(optimizer, display)
    return _grid_of_steps(optimizer, columns, display)


def hidden_values(optimizer: OptimizerTrace, display: Display) -> list[str]:
    """Return a line for each column of which not every number is shown."""
    several = {**(optimizer.state if display.state else {}), **optimizer.values}
    rates = optimizer.columns.get("lr")
    if rates is not None and not _is_by_parameter(optimizer, display):
        several = {**({} if are_alike(rates, range(len(optimizer.steps))) else {"lr": rates}), **several}
    return [
        f"only the first {FIRST_FEW} of {column.size} numbers of {name} are shown; output files have all"
        for name, column in several.items()
        if column.size > MOST_COORDINATES
    ]


def _steps_of_parameters(optimizer: OptimizerTrace, display: Display) -> Grid:
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
            columns += number_columns(quantity.name, flat, significant(display), title=quantity.heading)
    return replace(grid_of(columns, len(steps) * count, display, labels=2), words=(1,))


def _grid_of_steps(optimizer: OptimizerTrace, columns: Sequence[GridColumn], display: Display) -> Grid:
    return grid_of([step_column(optimizer.steps), *columns], len(optimizer.steps), display)


def _is_long(optimizer: OptimizerTrace, display: Display) -> bool:
    """Return whether the rows of a table of steps are stretches of them."""
    return len(optimizer.steps) > MOST_ROWS and not display.all_rows


def _is_by_parameter(optimizer: OptimizerTrace, display: Display) -> bool:
    return display.by_parameter and bool(optimizer.by_parameter)
