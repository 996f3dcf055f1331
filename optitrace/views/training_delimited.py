"""Trainings as CSV and TSV: one header for all optimizers, exact numbers, nothing where there is no value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from optitrace.records.trace import Column
from optitrace.records.training import COLUMNS, OptimizerTrace, Training

Value = float | str | None

Cell = Callable[[int], Value]
"""A cell of a row, by the row's number."""


def training_rows(training: Training) -> Iterator[Sequence[object]]:
    """Yield the header, and the rows of a training.

    A row is one step of one optimizer. Where parameters were recorded, those of the step follow, each in a
    row with its name and its norms; the row of the step itself names none.
    """
    cells = [_cells(optimizer) for optimizer in training.optimizers]
    names = _in_order(list(dict.fromkeys(chain.from_iterable(cells))))
    has_parameters = any(optimizer.by_parameter for optimizer in training.optimizers)
    header = ["optimizer", "step", *(["parameter"] if has_parameters else []), *names]
    yield header
    for optimizer, own in zip(training.optimizers, cells, strict=True):
        yield from _rows(optimizer, own, names, has_parameters)


def _rows(
    optimizer: OptimizerTrace, cells: Mapping[str, Cell], names: Sequence[str], has_parameters: bool
) -> Iterator[list[object]]:
    nothing = [None] if has_parameters else []
    for index, step in enumerate(optimizer.steps):
        yield [optimizer.name, step, *nothing, *(cells[n](index) if n in cells else None for n in names)]
        if not optimizer.by_parameter:
            continue
        norms = {name: column.row(index) or () for name, column in optimizer.by_parameter.items()}
        for place, parameter in enumerate(optimizer.recorded_parameters):
            yield [
                optimizer.name,
                step,
                parameter,
                *(norms[n][place] if n in norms else None for n in names),
            ]


def _cells(optimizer: OptimizerTrace) -> dict[str, Cell]:
    """Return what each row of an optimizer has, by heading."""
    cells: dict[str, Cell] = {}
    for name in COLUMNS:
        if name in optimizer.columns:
            cells |= _cells_of(name, optimizer.columns[name])
    if not optimizer.steps:
        return cells
    cells["gradient"], loss = optimizer.kind, cells["loss"]
    cells["loss"] = lambda index: loss(index) if optimizer.has_loss(index) else None
    for what, columns in (("state", optimizer.state), ("value", optimizer.values)):
        for name, column in columns.items():
            is_taken = name in cells or name in ("optimizer", "step", "parameter", *COLUMNS)
            cells |= _cells_of(f"{what}_{name}" if is_taken else name, column)
    return cells


def _cells_of(name: str, column: Column) -> dict[str, Cell]:
    """Return the cells of a column: one of a number, and of several numbers one each, counted from 1."""

    def cell(place: int) -> Cell:
        return lambda index: _number(column, index, place)

    if not column.shape:
        return {name: cell(0)}
    return {f"{name}_{place + 1}": cell(place) for place in range(column.size)}


def _number(column: Column, index: int, place: int) -> float | None:
    row = column.row(index)
    return None if row is None else row[place]


def _in_order(names: list[str]) -> list[str]:
    """Return headings with the columns first, in their order, and the others as they come."""
    places = {name: place for place, name in enumerate(COLUMNS)}

    def place(name: str) -> int:
        return places.get(name, places["lr"] if name.removeprefix("lr_").isdigit() else len(places))

    return sorted(names, key=place)
