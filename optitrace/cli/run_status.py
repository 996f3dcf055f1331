"""The live status of a training: one line on standard error, for a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Any, TextIO

from optitrace.cli.terminal import can_rewrite, is_terminal, width
from optitrace.monitoring.fault_isolation import undisturbed

INTERVAL = 0.5
"""The seconds between two updates."""

CLEAR = "\r\x1b[K"
"""The control sequence that returns to the beginning of the line and erases it."""


class RunStatus:
    """Shows a status line while entered, and erases it before the program prints.

    The output of the program is not changed.
    """

    def __init__(self, tell: Callable[[float], str]) -> None:
        """Prepare the status, which starts when entered.

        Args:
            tell: returns the line, given the seconds passed; an empty one shows nothing.
        """
        self._tell = tell
        self._is_seen = can_rewrite(sys.stderr)
        self._ended = Event()
        self._is_there = False
        self._is_line_begun = False
        # named, so that the threads of the program are counted from 1
        self._thread = Thread(target=self._show, name="optitrace status", daemon=True)

    def __enter__(self) -> RunStatus:
        """Begin."""
        if self._is_seen:
            self._stderr = sys.stderr
            self._wrapped = [s for s in (sys.stdout, sys.stderr) if is_terminal(s)]
            for stream in self._wrapped:
                self._watch_writes(stream)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the line away."""
        if self._is_seen:
            self._ended.set()
            self._thread.join()
            self._clear()
            for stream in self._wrapped:
                del stream.write  # the class's own is there again

    def _show(self) -> None:
        begin = monotonic()
        while not self._ended.wait(INTERVAL):
            line = self._tell(monotonic() - begin)[: (width(self._stderr) or 80) - 1]
            if line and not self._is_line_begun:  # what the program has begun would be wiped out
                self._is_there = True
                self._write(f"{CLEAR}{line}")

    @undisturbed
    def _clear(self) -> None:
        if self._is_there:
            self._is_there = False
            self._write(CLEAR)

    def _write(self, text: str) -> None:
        with suppress(ValueError, OSError):  # the program may have closed it, or nobody reads it any more
            type(self._stderr).write(self._stderr, text)
            self._stderr.flush()

    def _watch_writes(self, stream: TextIO) -> None:
        """Erase the line before a write to a stream, and record whether the write ends a line."""
        write = stream.write

        def clearing(text: Any) -> int:
            self._is_line_begun = self._is_line_begun if not text else not text.endswith("\n")
            self._clear()
            return write(text)

        stream.write = clearing  # type: ignore[method-assign]
