"""The ending of a program that was run: its exit code and traceback are those of Python."""

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
"""The folders of code that a program calls without being part of it."""

RUNNERS = ("runpy", "optitrace.cli.run_command", __name__)
"""The modules that precede the program in a traceback."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The ending of a program.

    Attributes:
        error: the exception that it raised; None if it completed.
    """

    error: BaseException | None = None

    @property
    def code(self) -> int:
        """The exit code of the process, that of Python."""
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
        """Whether the program failed, and has reported that itself."""
        return self.code != 0

    def outcome(self, steps: int) -> Outcome:
        """Return the outcome of the training after this many steps."""
        if not self.has_failed:
            return Outcome()
        if isinstance(self.error, KeyboardInterrupt | Terminated):
            return Outcome(Status.INTERRUPTED, steps)
        return Outcome(Status.FAILED, steps, reason=self._reason())

    def say(self) -> int:
        """Print what Python prints on standard error; return the exit code of Python."""
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
    """Print an error by sys.excepthook, which the program may have replaced."""
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
    """Return a traceback without the frames that run or observe the program."""
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
