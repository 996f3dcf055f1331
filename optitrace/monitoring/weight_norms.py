"""Weight norms of each parameter, at the start and after each step, for comparing ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from optitrace.monitoring.tensor_values import is_sharded, norms
from optitrace.records.trace import Numbers
from optitrace.tracing.series import GrowingColumn


@dataclass(frozen=True, slots=True)
class WeightNorms:
    """The norms of the weights of one optimizer.

    Attributes:
        optimizer: the name of the optimizer.
        parameters: the name of each parameter.
        shapes: the shape of each.
        is_sharded: whether any of them is here in part only, the rest being with other processes.
        taken: how many steps the optimizer took.
        numbers: row after row, each a step and the norms of the parameters after it. The first row is that
            before the first step, and its step is 0, or how many had been taken when the parameters changed.
    """

    optimizer: str
    parameters: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    is_sharded: bool
    taken: int
    numbers: Numbers

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return 1 + len(self.parameters)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers) // self.width

    def step(self, row: int) -> int:
        """Return the step of a row."""
        return int(self.numbers[row * self.width])

    def bytes(self, begin: int, end: int) -> bytes:
        """Return the rows from one up to another as they are in memory."""
        return self.numbers[begin * self.width : end * self.width].tobytes()


class WeightRecord:
    """Gathers the norms of the weights of one optimizer, from before its first step on."""

    def __init__(self, parameters: Sequence[Tensor], *, taken: int) -> None:
        """Measure the weights as they are now.

        Args:
            parameters: the optimizer's.
            taken: how many steps it has taken.
        """
        self._start: Tensor | None = norms([p.detach() for p in parameters], parameters[0].device)
        self._taken = taken
        self._is_sharded = any(map(is_sharded, parameters))
        self._shapes = tuple(tuple(p.shape) for p in parameters)
        self._storage = GrowingColumn((1 + len(parameters),))

    def add(self, step: int, each: Sequence[float]) -> None:
        """Add the norms after a step."""
        self._read_start()
        self._storage.extend([step, *each])

    def norms(self, optimizer: str, parameters: Sequence[str], taken: int) -> WeightNorms:
        """Return what was gathered so far.

        Args:
            optimizer: the name of the optimizer.
            parameters: the names of its parameters.
            taken: how many steps it has taken.
        """
        self._read_start()
        numbers = self._storage.column().values
        return WeightNorms(optimizer, tuple(parameters), self._shapes, self._is_sharded, taken, numbers)

    def _read_start(self) -> None:
        """Read the first row as late as can be: an accelerator is waited for then."""
        if self._start is not None:
            self._storage.extend([self._taken, *self._start.tolist()])
            self._start = None
