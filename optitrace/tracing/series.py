"""Series gather a quantity over a block of steps; growing columns store it, on disk once they are long."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable
from math import inf, nan, prod
from typing import IO, Any, Protocol

import torch
from torch import Tensor

from optitrace.records.trace import Column

BLOCK = 1024
"""The number of steps in a block."""


IN_MEMORY = 1 << 16
"""How many numbers a column has in memory that may go into a file."""


class Series(Protocol):
    """The values of one quantity since the block began.

    Attributes:
        shape: the shape of a value, flat; () for a scalar, which may come as a tensor or as a number.
        gaps: which values are gaps, counted from the beginning of the block.
    """

    shape: tuple[int, ...]
    gaps: set[int]

    def add(self, value: Any) -> None:
        """Copy the value of the next step."""

    def skip(self) -> None:
        """Record that the next step has no value: a gap, which is not a number."""

    def take(self) -> list[Any]:
        """Return the values, each a float or a flat list of floats, and begin a new block."""


class HostSeries:
    """A series of numbers, or of tensors in the host's memory: each is read when it is added."""

    def __init__(self, shape: tuple[int, ...], read: Callable[[Any], float | list[float]]) -> None:
        self.shape = shape
        self.gaps: set[int] = set()
        self._size = prod(shape)
        self._read = read
        self._values: list[float | list[float]] = []

    def add(self, value: Any) -> None:
        """Copy the value of the next step; one that has another form than the first is a gap."""
        try:
            numbers = self._read(value)
        except (TypeError, ValueError, RuntimeError):
            self.skip()
            return
        if self.shape and len(numbers) != self._size:  # type: ignore[arg-type]
            self.skip()
        else:
            self._values.append(numbers)

    def skip(self) -> None:
        """Record that the next step has no value: a gap, which is not a number."""
        self.gaps.add(len(self._values))
        self._values.append([nan] * self._size if self.shape else nan)

    def take(self) -> list[Any]:
        """Return the values, each a float or a flat list of floats, and begin a new block."""
        values, self._values, self.gaps = self._values, [], set()
        return values


class DeviceSeries:
    """A series of tensors on an accelerator: each is copied there, and read with its whole block.

    float64 holds every value of every dtype exactly.
    """

    def __init__(self, like: Tensor) -> None:
        self.shape: tuple[int, ...] = (like.numel(),) if like.ndim else ()
        self.gaps: set[int] = set()
        self._buffer = torch.full((BLOCK, *self.shape), nan, dtype=torch.float64, device=like.device)
        self._count = 0

    def add(self, value: Any) -> None:
        """Copy the value of the next step."""
        place = self._buffer[self._count]
        if isinstance(value, Tensor):
            place.copy_(value.reshape(self.shape))
        else:
            place.fill_(value)
        self._count += 1

    def skip(self) -> None:
        """Record that the next step has no value: a gap, which is not a number."""
        self.gaps.add(self._count)
        self._buffer[self._count].fill_(nan)
        self._count += 1

    def take(self) -> list[Any]:
        """Return the values, each a float or a flat list of floats, and begin a new block."""
        values: list[Any] = self._buffer[: self._count].tolist()
        self._count, self.gaps = 0, set()
        return values


def is_recordable(value: Any) -> bool:
    """Return whether a series can take a value: a dense tensor of numbers, a number, or a list."""
    if isinstance(value, Tensor):
        is_dense = value.layout is torch.strided and not value.is_complex() and value.numel() > 0
        return is_dense and (type(value) is Tensor or plain(value) is not None)
    return isinstance(value, int | float | list)


def plain(value: Tensor | float) -> Tensor | None:
    """Return numbers as a tensor of their own, of torch's own class; None if they cannot be read.

    A tensor subclass need not do all that torch's own tensors do.
    """
    if not isinstance(value, Tensor) or type(value) is Tensor:
        return torch.as_tensor(value).detach().clone()
    try:
        with torch.no_grad():
            return torch.empty(value.shape, dtype=value.dtype, device=value.device).copy_(value)
    except Exception:  # whatever the subclass raises
        return None


def series_like(value: Any) -> Series:
    """Return an empty series for values like this one: a tensor, a number, or a list (its length)."""
    if isinstance(value, Tensor):
        if value.device.type != "cpu":
            return DeviceSeries(value)
        if value.ndim:
            return HostSeries((value.numel(),), Tensor.tolist if value.ndim == 1 else _flat)
    return HostSeries((), len if isinstance(value, list) else _scalar)


def _scalar(value: Any) -> float:
    try:
        return float(value.item() if isinstance(value, Tensor) else value)
    except OverflowError:  # a whole number beyond every float
        return inf


def _flat(tensor: Tensor) -> list[float]:
    numbers: list[float] = tensor.reshape(-1).tolist()
    return numbers


class GrowingColumn:
    """A column that numbers are added to, which goes on in a temporary file once it is long.

    Args:
        shape: the shape of one row's value.
        first: the first row that has a value.
    """

    def __init__(self, shape: tuple[int, ...] = (), first: int = 0) -> None:
        self.shape = shape
        self.first = first
        self._tail = array("d")
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        """Return how many numbers are in memory."""
        return len(self._tail)

    def extend(self, numbers: Iterable[float]) -> None:
        """Add numbers at the end, those of each row flat."""
        self._tail.extend(numbers)
        if len(self._tail) > IN_MEMORY:
            self._spill()

    def column(self) -> Column:
        """Return the column as it is now, though numbers may be added later."""
        if self._file is None:
            return Column(self._tail[:], self.shape, self.first)
        self._spill()
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return Column(memoryview(mapped).cast("d"), self.shape, self.first)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="optitrace-")  # noqa: SIM115 (as long as the column)
            weakref.finalize(self, self._file.close)  # what is mapped of it stays
        self._tail.tofile(self._file)
        del self._tail[:]
