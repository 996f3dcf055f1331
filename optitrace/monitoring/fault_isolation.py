"""Keeps the monitor from harming the program: its faults end the monitoring, and signal handlers wait for it.

Python runs a signal handler between any two instructions of the main thread, also in the middle of a hook.
What the handler raises there would pass for an error of the monitor, and would leave a record half written.
So a handler whose signal comes while the monitor works runs as soon as that work is done, and raises in the
program.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import functools
import signal
import sys
import threading
from _thread import get_ident, start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from types import CodeType, FrameType
from typing import Any, TypeVar

import optitrace
from optitrace.experiment.user_module import reason
from optitrace.monitoring.patching import Attribute, wrap

Function = TypeVar("Function", bound=Callable[..., Any])

Handler = Callable[[int, FrameType | None], Any]

ROOM = 1000
"""How many calls deep the monitor may go, whatever the program's depth."""

CALLBACK_RETURN = 0.001
"""Seconds in which a callback of the garbage collector that has done its work returns."""

PACKAGE = str(Path(optitrace.__file__).parent)

OWN_MODULES = ("builtins", "torch", "optitrace")
"""Where the classes of the errors come from that lines of the monitor raise."""

_MAIN_THREAD = threading.main_thread().ident
"""The recursion limit is that of all threads: only this one may move it."""

_uninterrupted: set[CodeType] = set()
"""The code of the functions that signal handlers must not interrupt."""

_waiting: dict[int, Handler] = {}
"""The deferred handlers by the number of the signal."""

_entered = 0
"""How many `deferring_handlers` are entered."""


# faults


@dataclass(frozen=True, slots=True)
class Failure:
    """A fault that ended the monitoring of an optimizer, or of all, before the program ended.

    Attributes:
        optimizer: the name of the optimizer; empty if it is all.
        step: the last step before, of that optimizer or of all together; 0 if there was none.
        error: what was raised.
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
        what = f"{self.optimizer} was not" if self.optimizer else "nothing was"
        return f"{what} watched{after}: {reason(self.error)}."


def without_traceback(error: BaseException) -> BaseException:
    """Return an error that keeps nothing alive of what it went through, such as copies of weights."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def harmless(method: Function) -> Function:
    """Make a method of the monitor one that never raises: an error is its `failure`, and ends all monitoring.

    Hours of someone's training must not end because of a fault, or a lack of memory, of what watches it.
    """

    def lose(monitor: Any, error: BaseException, *args: Any) -> None:
        monitor.failure = error

    return _isolated(method, lose)


def harmless_to_others(method: Function) -> Function:
    """Make a method whose first argument is an optimizer one that never raises.

    An error ends the monitoring of that optimizer alone: the monitor's `give_up` is called with both.
    """

    def lose(monitor: Any, error: BaseException, optimizer: Any, *args: Any) -> None:
        monitor.give_up(optimizer, error)

    return _isolated(method, lose)


def is_user_class(error: BaseException) -> bool:
    """Return whether the monitor, or something that it called, raised an error.

    Another thread can raise one at any line (`PyThreadState_SetAsyncExc`, which timeout libraries use): it is
    no `Exception`, or a line of the monitor raised it and its class is the program's. Errors of signal
    handlers do not come here: handlers wait.
    """
    if not isinstance(error, Exception):
        return False
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    is_from_here = traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(PACKAGE)
    return not is_from_here or str(type(error).__module__).partition(".")[0] in OWN_MODULES


def _isolated(method: Function, lose: Callable[..., None]) -> Function:
    """Return a method whose errors are lost, that signal handlers wait for, and that has room.

    The program may be as deep in calls of its own as Python allows: the monitor has its room above that.
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
            passes = not is_user_class(error)
            lose(self, error, *args)
            if passes:
                raise
            return None
        finally:
            if limit and sys.getrecursionlimit() == limit + ROOM:
                sys.setrecursionlimit(limit)

    return functools.wraps(method)(undisturbed(working))  # type: ignore[return-value]


# signals


@contextmanager
def deferring_handlers() -> Iterator[None]:
    """While entered, defer the handlers that the program has set, or sets, while `undisturbed` functions run.

    The program finds its own handlers wherever it asks for them.
    """
    global _entered
    undo = [
        wrap(Attribute(_signal, name), by) for name, by in (("signal", _setting), ("getsignal", _getting))
    ]
    _entered += 1
    _reset_handlers()
    try:
        yield
    finally:
        _entered -= 1
        for put_back in undo:
            put_back()
        if not _entered:
            _reset_handlers()


def undisturbed(function: Function) -> Function:
    """Make a function of the monitor one that signal handlers wait for."""
    _uninterrupted.add(function.__code__)

    def calling(*args: Any) -> Any:
        try:
            return function(*args)
        finally:
            if _waiting:
                _run_if_done(sys._getframe(1))

    return functools.wraps(function)(calling)  # type: ignore[return-value]


def undisturbed_callback(function: Function) -> Function:
    """Make a function that Python calls when an object is gone one that signal handlers wait for.

    Python drops what such a callback raises, so that the signals are sent once more, soon after it. Once
    the interpreter ends, nothing is called: the modules that a callback needs are empty by then.
    """
    is_finalizing = sys.is_finalizing  # kept here, as this module is emptied, too

    def calling(*args: Any) -> Any:
        if is_finalizing():
            return None
        try:
            return function(*args)
        finally:
            if _waiting and get_ident() == threading.main_thread().ident:
                start_new_thread(_send_again, ())

    _uninterrupted.add(calling.__code__)
    return functools.wraps(function)(calling)  # type: ignore[return-value]


def forget_waiting() -> None:
    """Forget the deferred handlers, as the program that set them has ended."""
    _waiting.clear()


class _Deferring:
    """Replaces a handler of the program by one that waits."""

    __slots__ = ("handler",)

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        _waiting[number] = self.handler
        if not _is_at_work(frame):
            _run_all(frame)


def _run_if_done(frame: FrameType) -> None:
    """Run what waits, unless this is another thread's work, or a part of more work."""
    if get_ident() == threading.main_thread().ident and not _is_at_work(frame):
        _run_all(frame)


def _run_all(frame: FrameType | None) -> None:
    while _waiting:
        _run_waiting(frame)


def _run_waiting(frame: FrameType | None) -> None:
    """Run the handlers that wait, in Python's order. Each runs, though another raises."""
    try:
        while _waiting:
            number = min(_waiting, default=0)
            if (handler := _waiting.pop(number, None)) is not None:  # else another has run them meanwhile
                handler(number, frame)
    finally:
        _run_all(frame)


def _is_at_work(frame: FrameType | None) -> bool:
    """Return whether a frame belongs to the monitor's work; that of a handler that has waited does not.

    The removal of a waiting handler and its call belong together: no other signal may come between.
    """
    if frame is not None and frame.f_code is _run_waiting.__code__:
        return True
    while frame is not None and frame.f_code is not _run_waiting.__code__:
        if frame.f_code in _uninterrupted:
            return True
        frame = frame.f_back
    return False


def _send_again() -> None:
    sleep(CALLBACK_RETURN)
    thread = threading.main_thread().ident
    for number in list(_waiting):
        if _waiting.pop(number, None) is not None and thread is not None:
            signal.pthread_kill(thread, number)


def _setting(set_handler: Callable[[int, Any], Any]) -> Callable[[int, Any], Any]:
    @functools.wraps(set_handler)
    def wrapped(number: int, handler: Any) -> Any:
        return _own(set_handler(number, _Deferring(_own(handler)) if callable(handler) else handler))

    return wrapped


def _getting(get_handler: Callable[[int], Any]) -> Callable[[int], Any]:
    @functools.wraps(get_handler)
    def wrapped(number: int) -> Any:
        return _own(get_handler(number))

    return wrapped


def _own(handler: Any) -> Any:
    """Return the program's own handler."""
    return handler.handler if isinstance(handler, _Deferring) else handler


def _reset_handlers() -> None:
    """Set every handler once more, so that the functions around `signal.signal` see it."""
    for number in signal.valid_signals():
        if callable(handler := _signal.getsignal(number)):
            with suppress(ValueError):  # only the main thread can
                _signal.signal(number, _own(handler))
