"""Traces as rows of exact numbers: a column for each coordinate, None where there is no value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optitrace.records.trace import Trace
from optitrace.views.fields import Field, all_fields


def trace_rows(trace: Trace) -> Iterator[Sequence[object]]:
    """Yield the header, and a row for each step."""
    columns = all_fields(trace)
    yield _names(columns)
    yield from ([step, *(column.value(row) for column in columns)] for row, step in enumerate(trace.steps))


def _names(columns: list[Field]) -> list[str]:
    """Return the header; a state entry whose name is taken, as Adam's step, is ``state_step``."""
    names = ["step"]
    for column in columns:
        name = column.quantity if column.coordinate is None else f"{column.quantity}_{column.coordinate}"
        names.append(f"state_{name}" if column.is_state and name in names else name)
    return names
