"""Records the rows of one optimizer: read from the device in blocks, stored in columns."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import inf, isfinite, nan
from threading import RLock
from typing import Any

import torch
from torch import Tensor

from optitrace.monitoring.norms import Norm
from optitrace.records.trace import Column
from optitrace.tracing.series import GrowingColumn

BLOCK = 256
"""How many rows a block has, at most."""

LARGEST_BLOCK = 1 << 20
"""How many numbers a block has, at most, if it has more than a row."""

Value = float | list[float] | Norm | Tensor | None
"""A number, several, a norm, a tensor of some numbers, or nothing, of which NaN is kept."""

Row = dict[str, Value]
"""The values of one step, by name."""


class RowRecorder:
    """Columns that grow by rows. What a row has no value for is NaN."""

    def __init__(self, judge: Callable[[int, Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Begin.

        Args:
            judge: given each row's step and its values once they are read, numbers or lists of them;
                returns what is to be kept.
        """
        self._judge = judge
        self._steps = GrowingColumn()
        self._rows = 0
        self._pending: list[tuple[int, Row]] = []
        self._reading = RLock()  # whoever shows what is recorded may do so in a thread of its own
        self._stored: dict[str, GrowingColumn] = {}
        self._block = BLOCK

    @property
    def rows(self) -> int:
        """How many rows there are, read or not."""
        return self._rows + len(self._pending)

    def add(self, step: int, row: Row) -> None:
        """Add a row."""
        if not self._pending and not self._rows:
            widest = max((_width(value) for value in row.values()), default=1)
            self._block = min(BLOCK, max(1, LARGEST_BLOCK // widest))
        self._pending.append((step, row))
        if len(self._pending) >= self._block:
            self.read()

    def read(self) -> None:
        """Read the rows that are still pending: the only moment at which a device is waited for."""
        with self._reading:
            pending = self._pending[:]
            del self._pending[: len(pending)]  # others may be added meanwhile
            fetch([row for _, row in pending])
            judged: list[Mapping[str, Any]] = []
            try:
                for step, row in pending:
                    judged.append(self._judge(step, row))
            finally:
                self._keep(judged)
                self._steps.extend([step for step, _ in pending[: len(judged)]])
                self._rows += len(judged)

    def whole(self) -> tuple[Sequence[int], dict[str, Column]]:
        """Return the steps and the columns of all rows so far, as many of each, whatever comes meanwhile."""
        with self._reading:
            self.read()
            return self.steps(), self.columns()

    def steps(self) -> Sequence[int]:
        """Return the number of each row's step, as far as they are read."""
        return array("q", map(int, self._steps.column().values))

    def columns(self) -> dict[str, Column]:
        """Return the columns by name, as far as they are read: each row has shape () or (size,)."""
        return {name: growing.column() for name, growing in self._stored.items()}

    def _keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for name in dict.fromkeys(chain(self._stored, *rows)):
            values: list[Any] = [row.get(name) for row in rows]
            if name not in self._stored:
                first = next(k for k, row in enumerate(rows) if name in row)
                width = (len(values[first]),) if isinstance(values[first], list) else ()
                self._stored[name] = GrowingColumn(width, self._rows + first)
                del values[:first]
            column = self._stored[name]
            column.extend(
                chain.from_iterable(_several(v, *column.shape) for v in values)
                if column.shape
                else map(_one, values)
            )


def _width(value: Value) -> int:
    """Return how many numbers a value is, at least one."""
    if isinstance(value, Tensor):
        return max(value.numel(), 1)
    if isinstance(value, Norm):
        return len(value.each or ()) + 1
    return len(value) if isinstance(value, list) else 1


def _one(value: Any) -> float:
    """Return a number; NaN where there is none, or where there are several in the place of one."""
    return nan if value is None or isinstance(value, list) else value


def _several(value: Any, size: int) -> list[float]:
    """Return some numbers; NaN where there are none, or not so many."""
    return value if isinstance(value, list) and len(value) == size else [nan] * size


def fetch(rows: Sequence[dict[str, Any]]) -> None:
    """Put numbers in the place of the tensors of some rows, in one transfer from each device."""
    found: dict[torch.device, list[tuple[dict[str, Any], str, Tensor]]] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, Tensor):
                found.setdefault(value.device, []).append((row, name, value))
    for places in found.values():
        line = torch.cat([tensor.detach().reshape(-1) for _, _, tensor in places])
        numbers = line.cpu().double().tolist()
        begin = 0
        for row, name, tensor in places:
            end = begin + tensor.numel()
            row[name] = numbers[begin:end] if tensor.ndim else numbers[begin]
            begin = end


def ratio(update: float, weights: float) -> float:
    """Return how large an update is beside the weights that it made.

    >>> ratio(0.5, 2.0), ratio(0.5, 0.0), ratio(0.0, 0.0)
    (0.25, inf, 0.0)
    """
    if weights:
        return update / weights
    return inf if update and isfinite(update) else update
