"""Columns of any length: in memory at first, in a temporary file once they are long."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from array import array
from collections.abc import Iterable
from typing import IO

from optitrace.records.trace import Numbers

IN_MEMORY = 1 << 16
"""How many numbers are kept in memory."""


class SpillFile:
    """A growing sequence of float64 numbers."""

    def __init__(self) -> None:
        self._tail = array("d")
        self._file: IO[bytes] | None = None

    def extend(self, numbers: Iterable[float]) -> None:
        """Add numbers at the end."""
        self._tail.extend(numbers)
        if len(self._tail) > IN_MEMORY:
            self._spill()

    def values(self) -> Numbers:
        """Return all numbers: as they are now, though others may be added later."""
        if self._file is None:
            return self._tail[:]
        self._spill()
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(mapped).cast("d")

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="optitrace-")  # noqa: SIM115 (as long as the column)
            weakref.finalize(self, self._file.close)  # what is mapped of it stays
        self._tail.tofile(self._file)
        del self._tail[:]
