"""Writing traces and trainings as JSON and JSONL: exact, row by row, the same bytes for the same record.

`trace.schema.json` and `training.schema.json` beside this file say what such a file is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from math import nan
from typing import Any

from optitrace.experiment.experiment import Experiment
from optitrace.records.findings import TrainingFindings
from optitrace.records.quantity import Quantity
from optitrace.records.trace import Column, Outcome, Table, TraceRecord
from optitrace.records.training import TrainingRecord

TRACE_SCHEMA = 1
"""The version of the form of trace files."""

TRAINING_SCHEMA = 2
"""The version of the form of training files.

Since 2, an optimizer has ``clippings`` in place of ``clipped``, a parameter that no optimizer has is an
object and not a name, and every entry is there even where it is empty.
"""

MoreFields = Callable[[int], Mapping[str, Any]]
"""What a row has beside the columns of its table, by the row's number."""

NO_FIELDS: Mapping[str, Any] = {}
"""Nothing beside the record's own."""

Cell = Callable[[int], str]
"""A part of a row as JSON, by the row's number; empty where the row does not have it."""


def json_chunks(
    record: TraceRecord | TrainingRecord,
    above: Mapping[str, Any] = NO_FIELDS,
    more: MoreFields = lambda row: NO_FIELDS,
) -> Iterator[str]:
    """Yield a record as one JSON object, with a line for each step.

    Args:
        record: a trace or a training.
        above: what stands before its steps, beside what was run and how it ended.
        more: what else the rows of a trace have.
    """
    head = _opened({**_head(record), **above})
    if isinstance(record, TraceRecord):
        yield f'{head}, "steps": [\n'
        yield from _separated(f"{{{row}}}" for row in _rows(record, more))
        yield f'], "final_loss": {number_text(record.final_loss)}}}\n'
        return
    yield f'{head}, "optimizers": [\n'
    last = len(record.optimizers) - 1
    for index, optimizer in enumerate(record.optimizers):
        yield f'{_opened(fields_of(optimizer))}, "steps": [\n'
        yield from _separated(f"{{{row}}}" for row in _rows(optimizer))
        yield "]},\n" if index < last else "]}\n"
    yield "]}\n"


def jsonl_chunks(
    record: TraceRecord | TrainingRecord,
    above: Mapping[str, Any] = NO_FIELDS,
    more: MoreFields = lambda row: NO_FIELDS,
) -> Iterator[str]:
    """Yield a record as lines of JSON: all but the steps first, then a line for each step.

    The arguments are those of `json_chunks`.
    """
    if isinstance(record, TraceRecord):
        yield _as_json({**_head(record), **above, "final_loss": record.final_loss}) + "\n"
        yield from (f"{{{row}}}\n" for row in _rows(record, more))
    else:
        yield from jsonl_block(record, {}, above)


def jsonl_block(
    training: TrainingRecord, written: Mapping[str, int], above: Mapping[str, Any] = NO_FIELDS
) -> Iterator[str]:
    """Yield a training as lines of JSON, without the rows that an earlier block has.

    Args:
        training: the training so far.
        written: how many rows of each optimizer are written, by its name.
        above: what stands on the first line, beside what was run.
    """
    optimizers = training.optimizers
    yield _as_json({**_head(training), **above, "optimizers": list(map(fields_of, optimizers))}) + "\n"
    for optimizer in optimizers:
        begin = f'{{"optimizer": {_as_json(optimizer.name)}, '
        rows = _rows(optimizer, first=written.get(optimizer.name, 0))
        yield from (f"{begin}{row}}}\n" for row in rows)


def exact(value: float) -> float | str:
    """Return a number as it is; a text for one that is not finite, since JSON has none for it."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def exact_all(value: Any) -> Any:
    """Return nested data with every number as `exact` has it, and values as objects of their fields.

    >>> exact_all({"norms": (1.0, float("nan")), "outcome": Outcome()})
    {'norms': [1.0, 'NaN'], 'outcome': {'status': <Status.COMPLETED: 'completed'>}}
    """
    if isinstance(value, float):
        return exact(value)
    if is_dataclass(value) and not isinstance(value, type):
        value = fields_of(value)
    if isinstance(value, Mapping):
        return {name: exact_all(member) for name, member in value.items()}
    return [exact_all(member) for member in value] if isinstance(value, list | tuple) else value


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name, without columns and without unset findings."""
    of_tables = {field.name for field in fields(Table)} if isinstance(value, Table) else ()
    found = {field.name: getattr(value, field.name) for field in fields(value) if field.name not in of_tables}
    if isinstance(value, Outcome | TrainingFindings):
        return {name: value for name, value in found.items() if value is not None}
    return found


def number_text(value: float) -> str:
    """Return a number as JSON, with all its digits."""
    return repr(value) if math.isfinite(value) else f'"{exact(value)}"'


def _as_json(data: Any) -> str:
    """Return data as JSON; a hyperparameter that JSON has nothing for, as a function, as its text."""
    return json.dumps(exact_all(data), ensure_ascii=False, default=str)


def _opened(data: Mapping[str, Any]) -> str:
    """Return an object as JSON that more fields can follow."""
    return _as_json(data).removesuffix("}")


def _head(record: TraceRecord | TrainingRecord) -> dict[str, Any]:
    """Return what stands above the rows."""
    own = fields_of(record)
    if isinstance(record, TraceRecord):
        del own["final_loss"]
        return {"schema": TRACE_SCHEMA, **own, "experiment": _experiment(record.experiment)}
    del own["optimizers"]
    return {"schema": TRAINING_SCHEMA, **own}


def _experiment(experiment: Experiment) -> dict[str, Any]:
    """Return what was run; what an ordinary run does not have stands only where it is used."""
    more = {
        "noise": experiment.noise or None,
        "seed": experiment.seed if experiment.noise else None,
        "clip_norm": experiment.clip_norm,
        "clip_value": experiment.clip_value,
        "schedule": str(experiment.schedule) if experiment.schedule else None,
        "until": str(experiment.until) if experiment.until else None,
    }
    always = {name: value for name, value in fields_of(experiment).items() if name not in (*more, "custom")}
    return {
        **always,
        "objective": experiment.objective.settings,
        **{name: value for name, value in more.items() if value is not None},
    }


def _separated(rows: Iterator[str]) -> Iterator[str]:
    """Yield rows on lines of their own, with a comma after each but the last."""
    row = next(rows, None)
    while row is not None:
        following = next(rows, None)
        yield f"{row}\n" if following is None else f"{row},\n"
        row = following


def _rows(table: Table, more: MoreFields | None = None, first: int = 0) -> Iterator[str]:
    """Yield the fields of each row from the first one on as JSON, without braces around them."""
    cells = [_cell(table, quantity) for quantity in table.recorded]
    if table.state or "state" in table.ALWAYS:
        cells.append(_named("state", table.state))
    if table.values:
        cells.append(_named("values", table.values))
    if table.by_parameter:
        cells.append(_by_parameter(table))
    for index, step in enumerate(table.steps[first:] if first else table.steps, start=first):
        row = ", ".join([f'"step": {step}', *(cell(index) for cell in cells)])
        for name, value in more(index).items() if more else ():
            row += f", {json.dumps(name)}: {json.dumps(exact_all(value))}"
        yield row


def _cell(table: Table, quantity: Quantity) -> Cell:
    name, words = quantity.name, quantity.words
    column, key = table.columns[name], f"{json.dumps(name)}: "
    if words:
        return lambda index: f'{key}"{words[int(column.values[index])]}"'
    if quantity.may_lack:
        return lambda index: key + (_value(column, index) if table.numbers(name, index) else "null")
    return lambda index: key + _value(column, index)


def _named(name: str, columns: Mapping[str, Column]) -> Cell:
    """Return the field that has what a row has of some columns, as an object by name."""
    keys = {json.dumps(key): column for key, column in columns.items()}

    def cell(index: int) -> str:
        here = [f"{k}: {_value(c, index)}" for k, c in keys.items() if index >= c.first]
        return f'"{name}": {{{", ".join(here)}}}'

    return cell


def _by_parameter(table: Table) -> Cell:
    """Return the field that has the columns of each parameter, as an object by the parameter's name."""
    names = [json.dumps(name) for name in table.recorded_parameters]
    columns = [(f"{json.dumps(name)}: ", column) for name, column in table.by_parameter.items()]
    nothing = (nan,) * len(names)

    def cell(index: int) -> str:
        rows = [(key, column.row(index) or nothing) for key, column in columns]
        each = [
            f"{name}: {{{', '.join([key + number_text(row[place]) for key, row in rows])}}}"
            for place, name in enumerate(names)
        ]
        return f'"parameters": {{{", ".join(each)}}}'

    return cell


def _value(column: Column, index: int) -> str:
    """Return a row's value as JSON: a number, a list of them, or null where there is none."""
    if not column.shape:  # the usual one, without a tuple around it
        place = index - column.first
        return number_text(column.values[place]) if 0 <= place < len(column.values) else "null"
    row = column.row(index)
    return "null" if row is None else f"[{', '.join(map(number_text, row))}]"
