"""The file of a training that goes on: blocks of JSONL, readable whenever the program is killed.

Each block is a head, which is a line with all but the steps, and a line for each new step. The last head and
the rows of all blocks are the training so far. A last line that was cut short is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

SUFFIX = ".part"
"""What follows the name of the file that is written at the end."""


def part_of(path: str) -> str:
    """Return the path of the file that a training goes into until it has ended.

    >>> part_of("run.jsonl")
    'run.jsonl.part'
    """
    return f"{path}{SUFFIX}"


class PartFile:
    """Writes the file, which is locked meanwhile, so that readers know that the training goes on.

    Another run may replace it, and a program may close files that it did not open. So each block is written
    only if the file is still the one that was begun.
    """

    def __init__(self, path: Path) -> None:
        """Write nothing yet.

        Args:
            path: of the file, absolute since a program may go elsewhere.
        """
        self.path = path
        self._file: int | None = None
        self._identity = (0, 0)

    @property
    def is_begun(self) -> bool:
        """Whether anything is written."""
        return self._file is not None

    def begin(self, chunks: Iterable[str]) -> None:
        """Write the first block, in the place of all that was written before.

        Raises:
            OSError: it cannot be written; what stood there before still stands.
        """
        new = self.path.with_name(f"{self.path.name}.new")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        try:
            _write(file, chunks)
            with suppress(ImportError, OSError):  # where there are no locks
                from fcntl import LOCK_EX, LOCK_NB, lockf

                lockf(file, LOCK_EX | LOCK_NB)
            os.replace(new, self.path)
        except BaseException:
            os.close(file)
            with suppress(OSError):
                os.unlink(new)
            raise
        self._close()
        self._file, self._identity = file, _identity(os.fstat(file))

    def append(self, chunks: Iterable[str]) -> None:
        """Write another block.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None or not self._is_own(self._file):
            raise OSError("another program removed, replaced or closed it")
        _write(self._file, chunks)

    def remove(self) -> None:
        """Remove the file, as the training is written whole."""
        if self._file is not None and self._is_own(self._file):
            with suppress(OSError):
                os.unlink(self.path)
        self._close()

    def _is_own(self, file: int) -> bool:
        """Return whether the path and the open file are what was begun."""
        with suppress(OSError):
            return _identity(os.stat(self.path)) == _identity(os.fstat(file)) == self._identity
        return False

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                if _identity(os.fstat(self._file)) == self._identity:
                    os.close(self._file)
        self._file = None


def is_in_use(file: int) -> bool:
    """Return whether another process writes an open file, as far as there are locks."""
    try:
        from fcntl import LOCK_NB, LOCK_SH, LOCK_UN, lockf

        lockf(file, LOCK_SH | LOCK_NB)
        lockf(file, LOCK_UN)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return False
    return False


def _write(file: int, chunks: Iterable[str]) -> None:
    """Write all of a text, without a buffer that a forked process could write once more."""
    rest = memoryview("".join(chunks).encode(errors="backslashreplace"))
    while rest:
        rest = rest[os.write(file, rest) :]


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
