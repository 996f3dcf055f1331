"""Traces and trainings as rows of exact numbers, None where there is no value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from optitrace.records.trace import Column, Table, TraceRecord
from optitrace.records.training import OptimizerTrace, TrainingRecord

OF_A_ROW = ("optimizer", "step", "parameter")
"""The columns that identify a row."""


def record_rows(record: TraceRecord | TrainingRecord) -> Iterator[Sequence[object]]:
    """Yield a header and the rows of a trace or a training.

    A row is one step; of a training, one step of one optimizer. Where parameters were recorded, those of the
    step follow, each in a row with its name and its numbers; the row of the step itself names none.
    """
    if isinstance(record, TraceRecord):
        own = _cells(record, {"step"})
        yield ["step", *(heading.text for heading in own)]
        yield from ([step, *(cell(row) for cell in own.values())] for row, step in enumerate(record.steps))
        return
    taken = {*OF_A_ROW, *(quantity.name for quantity in OptimizerTrace.QUANTITIES)}
    cells = [_cells(optimizer, taken) for optimizer in record.optimizers]
    headings = sorted(dict.fromkeys(chain.from_iterable(cells)), key=lambda heading: heading.place)
    has_parameters = any(optimizer.by_parameter for optimizer in record.optimizers)
    about = [name for name in OF_A_ROW if has_parameters or name != "parameter"]
    yield [*about, *(heading.text for heading in headings)]
    for optimizer, own in zip(record.optimizers, cells, strict=True):
        yield from _rows(optimizer, own, headings, has_parameters)


@dataclass(frozen=True, slots=True)
class _Heading:
    """The heading of a column; `place` is that of its quantity among those of the table."""

    text: str
    place: int


_Cell = Callable[[int], float | str | None]
"""What a row has in a column, by the row's number."""


def _cells(table: Table, taken: Collection[str]) -> dict[_Heading, _Cell]:
    """Return what each row has, by heading; a name that is taken says what it is of: ``state_step``."""
    cells: dict[_Heading, _Cell] = {}
    for place, quantity in enumerate(table.QUANTITIES):
        if quantity.name in table.columns:
            numbers = partial(table.numbers, quantity.name)
            column = table.columns[quantity.name]
            cells |= _cells_of(quantity.name, place, column, numbers, quantity.words)
    place = len(table.QUANTITIES)
    for group, columns in (("state", table.state), ("value", table.values)):
        for name, column in columns.items():
            own = _cells_of(name, place, column, column.row)
            texts = {*taken, *(heading.text for heading in cells)}
            if texts & {name, *(heading.text for heading in own)}:
                own = _cells_of(f"{group}_{name}", place, column, column.row)
            cells |= own
    return cells


def _cells_of(
    name: str,
    place: int,
    column: Column,
    numbers: Callable[[int], Sequence[float] | None],
    words: Sequence[str] = (),
) -> dict[_Heading, _Cell]:
    """Return the cells of a column: one of a number, and of several numbers one each, counted from 1."""

    def cell(which: int) -> _Cell:
        def value(row: int) -> float | str | None:
            here = numbers(row)
            if here is None:
                return None
            return words[int(here[which])] if words else here[which]

        return value

    if not column.shape:
        return {_Heading(name, place): cell(0)}
    return {_Heading(f"{name}_{which + 1}", place): cell(which) for which in range(column.size)}


def _rows(
    optimizer: OptimizerTrace,
    cells: Mapping[_Heading, _Cell],
    headings: Sequence[_Heading],
    has_parameters: bool,
) -> Iterator[list[object]]:
    """Yield the rows of an optimizer of a training: that of each step, and those of its parameters."""
    nothing = [None] if has_parameters else []
    own = [cells.get(heading) for heading in headings]
    for row, step in enumerate(optimizer.steps):
        yield [optimizer.name, step, *nothing, *(cell and cell(row) for cell in own)]
        norms = {name: column.row(row) or () for name, column in optimizer.by_parameter.items()}
        for place, parameter in enumerate(optimizer.recorded_parameters):
            each = (norms[heading.text][place] if heading.text in norms else None for heading in headings)
            yield [optimizer.name, step, parameter, *each]
