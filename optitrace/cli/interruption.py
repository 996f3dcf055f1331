"""Ctrl-C, SIGTERM and SIGHUP during a run: the first ends it in good order, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that end a program which does not handle them."""

SIGNALS = (signal.SIGINT, *ENDING)


class LeftAtOnce(BaseException):
    """A second signal was received; not an `Exception`, so that no code of a run handles it.

    Attributes:
        exit_code: the exit code of the process.
    """

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(exit_code)


class Terminated(BaseException):
    """A program received SIGTERM or SIGHUP.

    Attributes:
        signal: the number of the signal.
    """

    def __init__(self, number: int) -> None:
        self.signal = number
        super().__init__()


_raising_in = 0
"""The process in which signals that end a program raise `Terminated`."""


@contextmanager
def raising_terminated() -> Iterator[None]:
    """While entered, let SIGTERM and SIGHUP raise `Terminated`, unless the program handles them itself.

    Processes that are forked meanwhile end by the signal, as they would otherwise.
    """
    global _raising_in
    before, _raising_in = _raising_in, os.getpid()
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _raise_terminated)
    try:
        yield
    finally:
        _raising_in = before
        for number in ENDING:
            if signal.getsignal(number) is _raise_terminated:
                signal.signal(number, signal.SIG_DFL)


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    if os.getpid() == _raising_in:
        raise Terminated(number)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def rest_handlers() -> None:
    """Disable the signal handlers of a program that has ended, as if its process had ended."""
    for number in signal.valid_signals() - set(SIGNALS):
        if callable(signal.getsignal(number)):
            signal.signal(number, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing, where SIG_IGN would be what processes inherit."""


class Interruption:
    """Records signals while entered; calling it returns whether one was received.

    Attributes:
        signal: the number of the received signal, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Return whether the run should end."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """The exit code for the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + (self.signal or 0)

    def __enter__(self) -> Interruption:
        """Handle the signals, except those that are ignored, as SIGHUP is under nohup."""
        self._before = {}
        for number in SIGNALS:
            if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None):
                self._before[number] = signal.SIG_DFL if handler is _raise_terminated else handler
                signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise LeftAtOnce(128 + number)
        self.signal = number
