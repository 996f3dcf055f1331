"""Isolates faults of the monitor: where a hook fails, the program goes on, unobserved."""

from __future__ import annotations

import functools
import sys
from _thread import get_ident
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import main_thread
from typing import Any, TypeVar

import optitrace
from optitrace.experiment.own_module import reason
from optitrace.monitoring.signal_deferral import undisturbed

Method = TypeVar("Method", bound=Callable[..., Any])

ROOM = 1000
"""How many calls deep the watcher may go, whatever the program's depth."""

PACKAGE = str(Path(optitrace.__file__).parent)

OWN_MODULES = ("builtins", "torch", "optitrace")
"""Where the classes of the errors come from that lines of the watcher raise."""

_MAIN_THREAD = main_thread().ident
"""Where there is room: the limit is that of all threads, and only one of them may move it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a watching before the program ended.

    Attributes:
        optimizer: the name of the one that is watched no longer; empty if none is.
        step: the last one before, of that optimizer or of all together; 0 if there was none.
        error: what has failed.
    """

    optimizer: str
    step: int
    error: BaseException

    @property
    def clause(self) -> str:
        """What has failed, and why."""
        what = f"the watching of {self.optimizer}" if self.optimizer else "the watching"
        return f"{what} failed: {reason(self.error)}"

    @property
    def sentence(self) -> str:
        """What was not watched for that."""
        after = f" after step {self.step}" if self.step else ""
        if not self.optimizer:
            return f"nothing was watched{after}: {reason(self.error)}."
        return f"{self.optimizer} was not watched{after}: {reason(self.error)}."


def without_traceback(error: BaseException) -> BaseException:
    """Return an error that keeps nothing alive of what it went through, such as copies of weights."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def harmless(method: Method) -> Method:
    """Make a method of a listener one that never raises: an error is kept, and nothing is heard any more.

    Hours of someone's training must not end because of a fault, or a lack of memory, of what watches it.
    """

    def lose(self: Any, error: BaseException, *args: Any) -> None:
        self.failure = error

    return _isolated(method, lose)


def harmless_to_others(method: Method) -> Method:
    """Make a method that is told of an optimizer one that never raises, as `harmless` does.

    An error ends the watching of that optimizer alone.
    """

    def lose(self: Any, error: BaseException, optimizer: Any, *args: Any) -> None:
        self.give_up(optimizer, error)

    return _isolated(method, lose)


def is_own(error: BaseException) -> bool:
    """Return whether the watcher has raised an error, or something that it called.

    Another thread can raise one at any line (`PyThreadState_SetAsyncExc`, which timeout libraries use): it is
    no `Exception`, or a line of the watcher has raised it and its class is the program's. What signal
    handlers raise does not come here: they wait.
    """
    if not isinstance(error, Exception):
        return False
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    is_from_here = traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(PACKAGE)
    return not is_from_here or str(type(error).__module__).partition(".")[0] in OWN_MODULES


def _isolated(method: Method, lose: Callable[..., None]) -> Method:
    """Return a method that ends the watching where it fails, and that signal handlers wait for.

    The program may be as deep in calls of its own as Python allows: the watcher has its room above that.
    """

    def working(self: Any, *args: Any) -> Any:
        if self.failure is not None:
            return None
        limit = sys.getrecursionlimit() if get_ident() == _MAIN_THREAD else 0
        if limit:
            sys.setrecursionlimit(limit)  # raises where it could not be put back
            sys.setrecursionlimit(limit + ROOM)
        try:
            return method(self, *args)
        except BaseException as error:
            passes = not is_own(error)
            lose(self, error, *args)
            if passes:
                raise
            return None
        finally:
            if limit and sys.getrecursionlimit() == limit + ROOM:
                sys.setrecursionlimit(limit)

    return functools.wraps(method)(undisturbed(working))  # type: ignore[return-value]
