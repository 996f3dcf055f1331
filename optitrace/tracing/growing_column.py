"""Columns while they grow: in memory, or in a temporary file once they are long."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from array import array
from collections.abc import Iterable
from typing import IO

from optitrace.records.trace import Column

IN_MEMORY = 1 << 16
"""How many numbers a column has in memory that may go into a file."""


class GrowingColumn:
    """A column that numbers are added to.

    Args:
        shape: the shape of one row's value.
        first: the first row that has a value.
        spills: whether it goes on in a temporary file once it is long. Only one that does not can be cut.
    """

    def __init__(self, shape: tuple[int, ...] = (), first: int = 0, *, spills: bool = True) -> None:
        self.shape = shape
        self.first = first
        self._spills = spills
        self._tail = array("d")
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        """Return how many numbers are in memory."""
        return len(self._tail)

    def extend(self, numbers: Iterable[float]) -> None:
        """Add numbers at the end, those of each row flat."""
        self._tail.extend(numbers)
        if self._spills and len(self._tail) > IN_MEMORY:
            self._spill()

    def cut(self, length: int) -> None:
        """Take away all numbers from a place on."""
        del self._tail[length:]

    def column(self) -> Column:
        """Return the column: as it is now, though numbers may be added later, if it may spill."""
        if not self._spills:
            return Column(self._tail, self.shape, self.first)
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
