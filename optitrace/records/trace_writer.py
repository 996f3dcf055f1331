"""Trace files: a trace as JSON, exact and the same bytes for the same run.

`trace.schema.json` beside this file says what a JSON trace is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from optitrace.experiment.experiment import Experiment
from optitrace.records.trace import Column, Outcome, Trace

SCHEMA = 1
"""The version of the shape of a trace file."""


MoreFields = Callable[[int], Mapping[str, Any]]
"""What a row has beside the trace's own columns, by the row's number."""

NO_FIELDS: Mapping[str, Any] = {}
"""Nothing beside the trace's own."""


def json_chunks(
    trace: Trace, above: Mapping[str, Any] = NO_FIELDS, more: MoreFields = lambda row: NO_FIELDS
) -> Iterator[str]:
    """Yield a trace as one JSON object, with a line for each step; `above` stands before the steps."""
    head = json.dumps(exact_all({**_head(trace), **above}), ensure_ascii=False)
    yield head.removesuffix("}") + ', "steps": [\n'
    last = len(trace.steps) - 1
    for index in range(len(trace.steps)):
        yield _row(trace, index, more) + (",\n" if index < last else "\n")
    yield f'], "final_loss": {number_text(trace.final_loss)}}}\n'


def jsonl_chunks(
    trace: Trace, above: Mapping[str, Any] = NO_FIELDS, more: MoreFields = lambda row: NO_FIELDS
) -> Iterator[str]:
    """Yield a trace as lines of JSON: what was run and how it ended first, then a line for each step."""
    head = {**_head(trace), **above, "final_loss": trace.final_loss}
    yield json.dumps(exact_all(head), ensure_ascii=False) + "\n"
    for index in range(len(trace.steps)):
        yield _row(trace, index, more) + "\n"


def exact(value: float) -> float | str:
    """Return a number as it is; a text for one that is not finite, since JSON has none for it."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def exact_all(value: Any) -> Any:
    """Return nested data with every number as `exact` has it."""
    if isinstance(value, float):
        return exact(value)
    if isinstance(value, Mapping):
        return {name: exact_all(member) for name, member in value.items()}
    return [exact_all(member) for member in value] if isinstance(value, list | tuple) else value


def value_text(column: Column, index: int) -> str:
    """Return a row's value as JSON: a number, a list of them, or null where there is none."""
    row = column.row(index)
    if row is None:
        return "null"
    return f"[{', '.join(map(number_text, row))}]" if column.shape else number_text(row[0])


def number_text(value: float) -> str:
    """Return a number as JSON, with all its digits."""
    return repr(value) if math.isfinite(value) else f'"{exact(value)}"'


def outcome_fields(outcome: Outcome) -> dict[str, Any]:
    """Return how a run ended, with what it has to say alone."""
    return {name: value for name, value in asdict(outcome).items() if value is not None}


def _head(trace: Trace) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "experiment": _experiment(trace.experiment),
        "versions": asdict(trace.versions),
        "outcome": outcome_fields(trace.outcome),
    }


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
    return {
        "optimizer": experiment.optimizer,
        "hyperparameters": dict(experiment.hyperparameters),
        "objective": dict(experiment.objective.settings),
        "start": experiment.start,
        "steps": experiment.steps,
        "gradient": experiment.gradient,
        "dtype": experiment.dtype,
        "device": experiment.device,
        "implementation": experiment.implementation,
        **{name: value for name, value in more.items() if value is not None},
    }


def _row(trace: Trace, index: int, more: MoreFields) -> str:
    """Return one step as a JSON object on one line."""
    state = ", ".join(
        f"{json.dumps(name)}: {value_text(column, index)}"
        for name, column in trace.state.items()
        if column.row(index) is not None
    )
    beside = "".join(f"{json.dumps(name)}: {value_text(c, index)}, " for name, c in trace.beside.items())
    return (
        f'{{"step": {trace.steps[index]}, "loss": {value_text(trace.loss, index)}, '
        f'"gradient": {value_text(trace.gradient, index)}, "weights": {value_text(trace.weights, index)}, '
        f'"lr": {value_text(trace.lr, index)}, {beside}"state": {{{state}}}{_others(more(index))}}}'
    )


def _others(fields: Mapping[str, Any]) -> str:
    """Return further fields of a row, each after a comma."""
    return "".join(f", {json.dumps(name)}: {json.dumps(exact_all(v))}" for name, v in fields.items())
