"""How a program that was run ended: its exit code and its traceback stand as Python would have them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from optitrace.cli import terminal
from optitrace.cli.interruption import Terminated
from optitrace.experiment.own_module import reason
from optitrace.tracing import watching
from optitrace.tracing.trace import Outcome, Status

LISTENERS = str(Path(watching.__file__).parent)
"""Where the code lies that is called in the midst of a program, and is no part of it."""

RUNNERS = ("runpy", "optitrace.cli.run_command")
"""The modules that stand in a traceback before the program begins."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ended.

    Attributes:
        error: what it raised; None if it came to its end.
    """

    error: BaseException | None = None

    @property
    def code(self) -> int:
        """What the process is to exit with, as Python does."""
        match self.error:
            case None | SystemExit(code=None):
                return 0
            case SystemExit(code=int(code)):
                return code
            case KeyboardInterrupt():
                return 130
            case Terminated():
                return 143
        return 1

    @property
    def has_failed(self) -> bool:
        """Whether the program did not end well: what it says of that itself is enough."""
        return self.code != 0

    @property
    def has_left(self) -> bool:
        """Whether the program ended itself before its last line, and well, as ``--help`` does."""
        return self.error is not None and self.code == 0

    def outcome(self, steps: int) -> Outcome:
        """Return how the training ended after so many steps."""
        if not self.has_failed:
            return Outcome()
        if isinstance(self.error, KeyboardInterrupt | Terminated):
            return Outcome(Status.INTERRUPTED, steps)
        return Outcome(Status.FAILED, steps, reason=self._reason())

    def say(self) -> None:
        """Say on standard error what Python says of it there."""
        error = self.error
        if isinstance(error, SystemExit):
            if error.code is not None and not isinstance(error.code, int):
                terminal.print_text([f"{error.code}\n"], sys.stderr)
        elif error is not None and not isinstance(error, Terminated):
            own = _own_traceback(error)
            sys.excepthook(type(error), error.with_traceback(own), own)

    def _reason(self) -> str:
        if isinstance(self.error, SystemExit):
            return f"the program left with exit code {self.code}"
        assert self.error is not None
        return reason(self.error)


def _own_traceback(error: BaseException) -> TracebackType | None:
    """Return where an error happened, without what runs the program and what listens to it."""
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(traceback)
        traceback = traceback.tb_next
    own = [frame for frame in frames if not frame.tb_frame.f_code.co_filename.startswith(LISTENERS)]
    while own and own[0].tb_frame.f_globals.get("__name__") in RUNNERS:
        own.pop(0)
    linked = None
    for frame in reversed(own):
        linked = TracebackType(linked, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return linked
