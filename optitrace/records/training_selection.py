"""Choosing rows of a training."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace

from optitrace.records.selection import rows_of_every_kth, select_rows
from optitrace.records.trace import Column
from optitrace.records.training import OptimizerTrace, Training


def every_kth_step(training: Training, k: int) -> Training:
    """Return a training with the first, every `k`-th and the last step of each optimizer that were recorded.

    That is what a run that records every `k`-th step has, and the last, which such a run cannot foresee.
    """
    if k == 1:
        return training
    chosen = (_select(optimizer, rows_of_every_kth(optimizer.steps, k)) for optimizer in training.optimizers)
    return replace(training, optimizers=tuple(chosen))


def _select(optimizer: OptimizerTrace, rows: Sequence[int]) -> OptimizerTrace:
    def selected(columns: Mapping[str, Column]) -> dict[str, Column]:
        return {name: select_rows(column, rows) for name, column in columns.items()}

    return replace(
        optimizer,
        steps=array("q", [optimizer.steps[row] for row in rows]),
        columns=selected(optimizer.columns),
        by_parameter=selected(optimizer.by_parameter),
        state=selected(optimizer.state),
        values=selected(optimizer.values),
    )
