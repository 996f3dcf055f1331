"""How a program that was run ended: its exit code and its traceback stand as Python would have them."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from optitrace.cli import terminal
from optitrace.cli.interruption import Terminated
from optitrace.experiment.own_module import reason
from optitrace.tracing.trace import Outcome, Status
from optitrace.tracing.watching.running import own_traceback


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

    def outcome(self, steps: int) -> Outcome:
        """Return how the training ended after so many steps."""
        if self.code == 0:
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
            own = own_traceback(error)
            sys.excepthook(type(error), error.with_traceback(own), own)

    def _reason(self) -> str:
        if isinstance(self.error, SystemExit):
            return f"the program left with exit code {self.code}"
        assert self.error is not None
        return reason(self.error)
