"""How a program that was run ended: its exit code and its traceback stand as Python would have them."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from optitrace import monitoring
from optitrace.cli import terminal
from optitrace.cli.interruption import Terminated
from optitrace.errors import OutputError
from optitrace.experiment.user_module import reason
from optitrace.records.trace import Outcome, Status

LISTENERS = str(Path(monitoring.__file__).parent)
"""Where the code lies that is called in the midst of a program, and is no part of it."""

RUNNERS = ("runpy", "optitrace.cli.run_command", __name__)
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
            case Terminated(signal=number):
                return 128 + int(number)
        return 1

    @property
    def has_failed(self) -> bool:
        """Whether the program did not end well: what it says of that itself is enough."""
        return self.code != 0

    def outcome(self, steps: int) -> Outcome:
        """Return how the training ended after so many steps."""
        if not self.has_failed:
            return Outcome()
        if isinstance(self.error, KeyboardInterrupt | Terminated):
            return Outcome(Status.INTERRUPTED, steps)
        return Outcome(Status.FAILED, steps, reason=self._reason())

    def say(self) -> int:
        """Say on standard error what Python says of it there; return what Python exits with then."""
        error = self.error
        with terminal.streams_of_a_program():
            if isinstance(error, SystemExit):
                if error.code is not None and not isinstance(error.code, int):
                    _print(f"{_text(error.code)}\n")
            elif error is not None and not isinstance(error, Terminated):
                try:
                    _call_hook(error)
                except SystemExit as left:
                    return Ending(left).say()
        return self.code

    def _reason(self) -> str:
        if isinstance(self.error, SystemExit):
            return f"the program left with exit code {self.code}"
        assert self.error is not None
        return reason(self.error)


def _call_hook(error: BaseException) -> None:
    """Have an error printed as Python does, by the hook that the program may have set."""
    for each in _chain(error):
        each.__traceback__ = _program_traceback(each)
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit:
        raise
    except BaseException as failed:
        failed.__context__, failed.__traceback__ = None, _program_traceback(failed)
        _print("Error in sys.excepthook:\n")
        sys.__excepthook__(type(failed), failed, failed.__traceback__)
        _print("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, error.__traceback__)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that Python prints with it."""
    chain = [error]
    for each in chain:
        linked = [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
        new = [one for one in linked if isinstance(one, BaseException)]
        chain += [one for one in new if not any(one is known for known in chain)]
    return chain


def _print(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OutputError):
            terminal.print_content([text], sys.stderr)


def _text(code: object) -> str:
    try:
        return str(code)
    except Exception:
        return ""


def _program_traceback(error: BaseException) -> TracebackType | None:
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
