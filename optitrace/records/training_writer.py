"""Training files: a training as JSON, exact, and written row by row, however many there are.

`training.schema.json` beside this file says what a JSON training is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from math import nan
from typing import Any

from optitrace.records.trace import Column
from optitrace.records.trace_writer import (
    NO_FIELDS,
    SCHEMA,
    exact_all,
    number_text,
    outcome_fields,
    value_text,
)
from optitrace.records.training import COLUMNS, OF_A_PARAMETER, OptimizerTrace, Training

Cell = Callable[[int], str]
"""A field of a row as JSON, by the row's number."""


def json_chunks(training: Training, above: Mapping[str, Any] = NO_FIELDS) -> Iterator[str]:
    """Yield a training as one JSON object, a line for each step; `above` stands before its optimizers."""
    yield _as_json({**_head(training), **above}).removesuffix("}") + ', "optimizers": [\n'
    last = len(training.optimizers) - 1
    for index, optimizer in enumerate(training.optimizers):
        yield _as_json(_optimizer(optimizer)).removesuffix("}") + ', "steps": [\n'
        rows = len(optimizer.steps)
        for number, row in enumerate(_rows(optimizer), start=1):
            yield f"{{{row}}},\n" if number < rows else f"{{{row}}}\n"
        yield "]},\n" if index < last else "]}\n"
    yield "]}\n"


def jsonl_chunks(training: Training, above: Mapping[str, Any] = NO_FIELDS) -> Iterator[str]:
    """Yield a training as lines of JSON: what was run first, then a line for each step of each optimizer."""
    optimizers = [_optimizer(optimizer) for optimizer in training.optimizers]
    yield _as_json({**_head(training), **above, "optimizers": optimizers}) + "\n"
    for optimizer in training.optimizers:
        begin = f'{{"optimizer": {_as_json(optimizer.name)}, '
        for row in _rows(optimizer):
            yield f"{begin}{row}}}\n"


def _as_json(data: Any) -> str:
    """Return data as JSON; a hyperparameter that JSON has nothing for, as a function, as its text."""
    return json.dumps(exact_all(data), ensure_ascii=False, default=str)


def _head(training: Training) -> dict[str, Any]:
    together = {"rank": training.rank, "world_size": training.world_size}
    return {
        "schema": SCHEMA,
        "program": asdict(training.program),
        "versions": asdict(training.versions),
        "outcome": outcome_fields(training.outcome),
        **(together if training.world_size > 1 else {}),
        "idle": training.idle,
        "unowned": [asdict(parameter) for parameter in training.unowned],
        **({"unobserved": training.unobserved} if training.unobserved else {}),
    }


def _optimizer(optimizer: OptimizerTrace) -> dict[str, Any]:
    """Return all of an optimizer but its rows."""
    clippings = {kind: asdict(tally) for kind, tally in optimizer.clippings.items()}
    return {
        "name": optimizer.name,
        "class_path": optimizer.class_path,
        "hyperparameters": [dict(group) for group in optimizer.hyperparameters],
        "parameters": [asdict(parameter) for parameter in optimizer.parameters],
        "taken": optimizer.taken,
        "gradients": {kind: asdict(tally) for kind, tally in optimizer.gradients.items()},
        **({"cases": [asdict(case) for case in optimizer.cases]} if optimizer.cases else {}),
        **({"clippings": clippings} if clippings else {}),
        **({"scheduling": asdict(optimizer.scheduling)} if optimizer.scheduling else {}),
        "non_finite": [asdict(first) for first in optimizer.non_finite],
        "lost": [asdict(inspected) for inspected in optimizer.lost],
    }


def _rows(optimizer: OptimizerTrace) -> Iterator[str]:
    """Yield the fields of each row as JSON, without braces around them."""
    cells = [_cell(name, optimizer) for name in COLUMNS if name in optimizer.columns]
    if optimizer.state:
        cells.append(_named("state", optimizer.state))
    if optimizer.values:
        cells.append(_named("values", optimizer.values))
    if optimizer.by_parameter:
        cells.append(_by_parameter(optimizer))
    for index, step in enumerate(optimizer.steps):
        yield ", ".join([f'"step": {step}', *(cell(index) for cell in cells)])


def _cell(name: str, optimizer: OptimizerTrace) -> Cell:
    column = optimizer.columns[name]
    if name == "gradient":
        return lambda index: f'"gradient": "{optimizer.kind(index)}"'
    key = f"{_as_json(name)}: "
    if name == "loss":
        return lambda index: key + (value_text(column, index) if optimizer.has_loss(index) else "null")
    return lambda index: key + value_text(column, index)


def _named(name: str, columns: Mapping[str, Column]) -> Cell:
    """Return the field that has what a row has of some columns, as an object by name."""
    keys = {_as_json(key): column for key, column in columns.items()}

    def cell(index: int) -> str:
        here = [f"{k}: {value_text(c, index)}" for k, c in keys.items() if index >= c.first]
        return f'"{name}": {{{", ".join(here)}}}'

    return cell


def _by_parameter(optimizer: OptimizerTrace) -> Cell:
    """Return the field that has the columns of each parameter, as an object by the parameter's name."""
    names = [_as_json(name) for name in optimizer.recorded_parameters]
    columns = [(f'"{name}": ', optimizer.by_parameter[name]) for name in OF_A_PARAMETER]
    nothing = (nan,) * len(names)

    def cell(index: int) -> str:
        rows = [(key, column.row(index) or nothing) for key, column in columns]
        each = [
            f"{name}: {{{', '.join([key + number_text(row[place]) for key, row in rows])}}}"
            for place, name in enumerate(names)
        ]
        return f'"parameters": {{{", ".join(each)}}}'

    return cell
