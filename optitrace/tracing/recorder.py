"""The recorder, which collects the numbers of each step in the columns of a trace."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from math import isfinite
from typing import Any

from torch import Tensor

from optitrace.errors import printable
from optitrace.records.trace import Column, Outcome, Status
from optitrace.tracing.series import BLOCK, Series, is_recordable, series_like

LARGEST_BLOCK = 1 << 20
"""How many numbers of a quantity a block has at most: not yet gathered, they take five times the room."""


class Recorder:
    """Records every K-th step and the last, and the first number that is not finite.

    For each step: `before`, with what the step is going to use, then `after`, with what it left. The
    numbers are copied at once, since the optimizer overwrites them, and gathered in blocks of steps;
    on an accelerator the blocks stay on the device until they are full, so that no step waits for it.

    Attributes:
        taken: how many steps were completed.
        non_finite: the outcome that names the first number that is not finite; None if all were, as
            far as the blocks were gathered: all of them after `finish`.

    Args:
        weights: the weights at the start, of which row 0 is made.
        every: keep only the steps that are multiples of this, and the last one taken.
    """

    def __init__(self, weights: Tensor, *, every: int = 1) -> None:
        self.taken = 0
        self.non_finite: Outcome | None = None
        self._every = every
        self._gathered = 0
        self._block = max(1, min(BLOCK, LARGEST_BLOCK // weights.numel()))
        self._steps = array("q", [0])
        size = (weights.numel(),)
        self._columns = {
            "loss": Column(array("d"), (), first=1),
            "gradient": Column(array("d"), size, first=1),
            "weights": Column(array("d", weights.reshape(-1).tolist()), size),
            "lr": Column(array("d"), (), first=1),
        }
        self._state_columns: dict[str, Column] = {}
        self._series: dict[str, Series] = {
            "loss": series_like(weights.sum()),
            "gradient": series_like(weights),
            "weights": series_like(weights),
            "lr": series_like(0.0),
        }
        self._state: dict[str, Series] = {}
        self._latest: list[tuple[Column, list[Any]]] = []

    def beside(self, name: str, value: Tensor | float) -> None:
        """Record a further quantity that the next step uses; at every step, or never."""
        if name not in self._series:
            series = self._series[name] = series_like(value)
            self._columns[name] = Column(array("d"), series.shape, first=1)
        self._series[name].add(value)

    def before(self, loss: Tensor, gradient: Tensor, lr: float | None) -> None:
        """Record what the next step uses; lr is None for an optimizer that has none."""
        self._series["loss"].add(loss)
        self._series["gradient"].add(gradient)
        lrs = self._series["lr"]
        lrs.skip() if lr is None else lrs.add(lr)

    def after(self, weights: Tensor, state: Mapping[str, Any]) -> None:
        """Record the result of the step, which completes it.

        An entry that is a list is noted by its length; one that is no number is left out.
        """
        if state.keys() == self._state.keys():
            for name, series in self._state.items():
                series.add(state[name])
        else:
            self._note_changed(state)
        self._series["weights"].add(weights)
        self.taken += 1
        if self.taken - self._gathered == self._block:
            self._gather()

    def finish(self) -> tuple[array[int], dict[str, Column], dict[str, Column]]:
        """Return the kept steps, the columns and the state's columns, by name.

        If there is no memory for the last block, its steps are lost, and `taken` is the last one before it.
        """
        with suppress(MemoryError):
            self._gather()
        if self._steps[-1] < self.taken:
            self._steps.append(self.taken)
            for column, value in self._latest:
                _extend(column, value)
        return self._steps, self._columns, self._state_columns

    def _note_changed(self, state: Mapping[str, Any]) -> None:
        """Record a state that has other entries than the step before."""
        for name, value in state.items():
            if name not in self._state and is_recordable(value):
                series = self._state[name] = series_like(value)
                first = self._rows_at(self.taken)
                self._state_columns[printable(str(name))] = Column(array("d"), series.shape, first)
                for _ in range(self.taken - self._gathered):
                    series.skip()
        for name, series in self._state.items():
            value = state.get(name)
            series.add(value) if is_recordable(value) else series.skip()

    def _rows_at(self, step: int) -> int:
        """Return how many rows the start and the kept steps up to this one make."""
        return 1 + step // self._every

    def _gather(self) -> None:
        """End the block: check its values, and keep those of the K-th steps."""
        count = self.taken - self._gathered
        if not count:
            return
        begin = -(self._gathered + 1) % self._every
        latest = []
        before = [(column, len(column.values)) for _, _, column in self._all()]
        try:
            for name, series, column in self._all():
                gaps = series.gaps
                values = series.take()[:count]
                self._judge(name, values, gaps, column.shape)
                absent = max(0, column.first - len(self._steps))
                _extend(column, values[begin :: self._every][absent:])
                latest.append((column, values[-1:]))
        except MemoryError:
            self.taken = self._gathered
            for column, length in before:
                del _numbers(column)[length:]
            raise
        self._latest = latest
        self._steps.extend(range(self._gathered + begin + 1, self.taken + 1, self._every))
        self._gathered = self.taken

    def _all(self) -> Iterator[tuple[str, Series, Column]]:
        """Yield every quantity with its series and its column, in the order in which a step has them."""
        for name, column in self._columns.items():
            if name != "weights":
                yield name, self._series[name], column
        for name, series in self._state.items():
            shown = printable(str(name))
            yield shown, series, self._state_columns[shown]
        yield "weights", self._series["weights"], self._columns["weights"]

    def _judge(self, name: str, values: list[Any], gaps: set[int], shape: tuple[int, ...]) -> None:
        """Record the first value that is not finite and no gap, if no earlier one is known."""
        if all(map(isfinite, chain.from_iterable(values) if shape else values)):
            return
        wrong = (k for k, v in enumerate(values) if not all(map(isfinite, v if shape else [v])))
        first = next((k for k in wrong if k not in gaps), None)
        if first is None:
            return
        step = self._gathered + 1 + first
        if self.non_finite is None or self.non_finite.step is None or step < self.non_finite.step:
            self.non_finite = Outcome(Status.NON_FINITE, step, name)


def _extend(column: Column, values: list[Any]) -> None:
    _numbers(column).extend(chain.from_iterable(values) if column.shape else values)


def _numbers(column: Column) -> array[float]:
    """Return the numbers of a column that is still being made."""
    assert isinstance(column.values, array)
    return column.values
