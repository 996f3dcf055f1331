"""A sweep for a script: what was swept and found, and a row for every configuration."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from optitrace.analysis.sweeping.axis import Range, SweptAxis
from optitrace.analysis.sweeping.blocks import Block
from optitrace.analysis.sweeping.ranking import OUTCOMES, Candidate
from optitrace.analysis.sweeping.space import Space
from optitrace.analysis.sweeping.sweep import Sweep
from optitrace.analysis.sweeping.values import listed
from optitrace.records.writer import exact
from optitrace.rules.hyperparameter import Value, show
from optitrace.views.delimited import cell_text

SCHEMA = 1
"""The version of the shape of a sweep file."""

_DELIMITERS = {"csv": ",", "tsv": "\t"}


def row_chunks(space: Space, block: Block, format: str) -> Iterator[str]:
    """Yield the rows of a block as text: lines of CSV or TSV, or a JSON object a line."""
    names = _names(space, block)
    columns = [
        [_named(space.base.optimizer, format)] * len(block),
        *(listed(axis, column) for axis, column in zip(space.axes, block.columns, strict=True)),
        *(_measured(name, block.measures[name].tolist()) for name in block.measures),
        *block.weights.double().T.tolist(),
    ]
    rows = zip(*columns, strict=True)
    if format in _DELIMITERS:
        for row in rows:
            yield _DELIMITERS[format].join(map(_cell, row)) + "\n"
    else:
        heads = [json.dumps(name) + ": " for name in names]
        for row in rows:
            yield "{" + ", ".join(h + _json(value) for h, value in zip(heads, row, strict=True)) + "}\n"


def header(space: Space, block: Block, format: str) -> str:
    """Return the line above the rows of CSV or TSV."""
    return _DELIMITERS[format].join(_names(space, block)) + "\n"


def whole_file(
    sweeps: Sequence[Sweep], commands: Sequence[str], rows: Iterable[str], format: str
) -> Iterator[str]:
    """Yield a whole file, given its rows: what was found stands before them in JSON and JSONL."""
    if format in _DELIMITERS:
        yield from rows
        return
    found = {
        "schema": SCHEMA,
        "sweeps": [_found(sweep, command) for sweep, command in zip(sweeps, commands, strict=True)],
    }
    head = json.dumps(found)
    if format == "jsonl":
        yield head + "\n"
        yield from rows
        return
    yield head.removesuffix("}") + ', "configurations": ['
    separator = "\n"
    for row in rows:
        yield separator + row.rstrip("\n")
        separator = ",\n"
    yield "\n]}\n"


def _found(sweep: Sweep, command: str) -> dict[str, Any]:
    base = sweep.space.base
    checks = sweep.checks
    return {
        "optimizer": base.optimizer,
        "hyperparameters": dict(base.hyperparameters),
        "objective": dict(base.objective.settings),
        "start": base.start,
        "steps": base.steps,
        "gradient": base.gradient,
        "dtype": base.dtype,
        "device": base.device,
        "varied": [_axis(axis) for axis in sweep.space.axes],
        "samples": sweep.space.samples,
        "seed": sweep.space.seed if sweep.space.samples is not None else None,
        "size": sweep.space.size,
        "finished": sweep.finished,
        "outcome": "completed" if sweep.is_complete else "interrupted",
        "rank": sweep.goal.rank,
        "tolerance": sweep.goal.tolerance,
        "counts": dict(sweep.counts),
        "tied": sweep.tied,
        "best": [_candidate(candidate) for candidate in sweep.best],
        "command": command or None,
        "spot_check": None
        if checks is None
        else {
            "agree": sum(check.agrees for check in checks),
            "of": len(checks),
            "worst_ulps": exact(max(check.ulps for check in checks)),
        },
    }


def _axis(axis: SweptAxis) -> dict[str, Any]:
    if isinstance(axis.values, Range):
        between = axis.values
        return {
            "name": axis.name,
            "first": between.first,
            "last": between.last,
            "count": between.count,
            "spacing": "logarithmic" if between.logarithmic else "linear",
        }
    return {"name": axis.name, "values": list(axis.values)}


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "number": candidate.number,
        **candidate.configuration,
        **{name: exact(value) for name, value in candidate.measures.items()},
        "weights": [exact(weight) for weight in candidate.weights],
    }


def _names(space: Space, block: Block) -> list[str]:
    axes = [axis.name for axis in space.axes]
    weights = [f"w{k}" for k in range(1, block.weights.shape[1] + 1)]
    return ["optimizer", *axes, *block.measures, *weights]


def _named(optimizer: str, format: str) -> str:
    """Return the name of an optimizer, which the path of a class may be, as a cell of its column."""
    return cell_text(optimizer, _DELIMITERS[format]) if format in _DELIMITERS else optimizer


def _measured(name: str, values: list[float]) -> list[Any]:
    return [OUTCOMES[int(value)] for value in values] if name == "outcome" else values


def _cell(value: Value) -> str:
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(exact(value))
    return value if isinstance(value, str) else show(value).replace(",", ";")


def _json(value: Value) -> str:
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'"{exact(value)}"'
    return json.dumps(value)
