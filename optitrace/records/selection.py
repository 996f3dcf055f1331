"""Choosing rows of a trace."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace

from optitrace.records.trace import Column, Trace


def every_kth(trace: Trace, k: int) -> Trace:
    """Return what a run that keeps every `k`-th step would have recorded: the start, those, and the last."""
    return select(trace, rows_of_every_kth(trace.steps, k))


def rows_of_every_kth(steps: Sequence[int], k: int) -> Sequence[int]:
    """Return the rows of the first step, of every `k`-th, and of the last.

    >>> rows_of_every_kth([5, 6, 7, 8, 9, 10, 11], 4)
    [0, 3, 6]
    """
    ends = (0, len(steps) - 1)
    return [row for row, step in enumerate(steps) if row in ends or step % k == 0]


def at_steps(trace: Trace, steps: Iterable[int]) -> Trace:
    """Return the rows of a trace that are of these steps, as far as it has them."""
    wanted = set(steps)
    return select(trace, [row for row, step in enumerate(trace.steps) if step in wanted])


def select(trace: Trace, rows: Sequence[int]) -> Trace:
    """Return a trace of some of its rows, which are given in ascending order."""
    if len(rows) == len(trace.steps):
        return trace
    return replace(
        trace,
        steps=array("q", [trace.steps[row] for row in rows]),
        loss=select_rows(trace.loss, rows),
        gradient=select_rows(trace.gradient, rows),
        weights=select_rows(trace.weights, rows),
        lr=select_rows(trace.lr, rows),
        state={name: select_rows(column, rows) for name, column in trace.state.items()},
        beside={name: select_rows(column, rows) for name, column in trace.beside.items()},
    )


def select_rows(column: Column, rows: Sequence[int]) -> Column:
    """Return a column in some of its rows, which are given in ascending order."""
    absent = bisect_left(rows, column.first)
    values = array("d")
    for row in rows[absent:]:
        begin = (row - column.first) * column.size
        values.extend(column.values[begin : begin + column.size])
    return replace(column, values=values, first=absent)
