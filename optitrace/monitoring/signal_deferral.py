"""The program's signal handlers, deferred while the watcher works.

Python runs a signal handler between any two instructions of the main thread, also in the middle of a hook.
What the handler raises there would pass for an error of the watcher, and would leave a record half written.
So a handler that is called for while the watcher works runs as soon as that work is done, and raises in the
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
from time import sleep
from types import CodeType, FrameType
from typing import Any, TypeVar

from optitrace.monitoring.patching import Attribute, wrap

Handler = Callable[[int, FrameType | None], Any]

Function = TypeVar("Function", bound=Callable[..., Any])

A_MOMENT = 0.001
"""Seconds in which a callback of the garbage collector that has done its work returns."""

_at_work: set[CodeType] = set()
"""The code of the functions that signal handlers must not interrupt."""

_waiting: dict[int, Handler] = {}
"""The handlers that signals have called for meanwhile, by the number of the signal."""

_entered = 0


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
    """Make a function of the watcher one that signal handlers wait for."""
    _at_work.add(function.__code__)

    def calling(*args: Any) -> Any:
        try:
            return function(*args)
        finally:
            if _waiting:
                _run_if_done(sys._getframe(1))

    return functools.wraps(function)(calling)  # type: ignore[return-value]


def undisturbed_callback(function: Function) -> Function:
    """Make a function that Python calls when an object is gone one that signal handlers wait for.

    Python drops what such a callback raises, so that the handlers are called for once more, soon after it.
    """

    def calling(*args: Any) -> Any:
        try:
            return function(*args)
        finally:
            if _waiting and get_ident() == threading.main_thread().ident:
                start_new_thread(_call_again, ())

    _at_work.add(calling.__code__)
    return functools.wraps(function)(calling)  # type: ignore[return-value]


def forget_waiting() -> None:
    """Forget the handlers that wait, as the program has ended that has set them."""
    _waiting.clear()


class _Deferring:
    """Stands in the place of a handler of the program."""

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
            number = min(_waiting)
            _waiting.pop(number)(number, frame)
    finally:
        _run_all(frame)


def _is_at_work(frame: FrameType | None) -> bool:
    """Return whether a frame belongs to the watcher's work; that of a handler that has waited does not.

    The removal of a waiting handler and its call belong together: no other signal may come between.
    """
    if frame is not None and frame.f_code is _run_waiting.__code__:
        return True
    while frame is not None and frame.f_code is not _run_waiting.__code__:
        if frame.f_code in _at_work:
            return True
        frame = frame.f_back
    return False


def _call_again() -> None:
    sleep(A_MOMENT)
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
    """Set every handler that there is once more, as they are set now."""
    for number in signal.valid_signals():
        if callable(handler := _signal.getsignal(number)):
            with suppress(ValueError):  # only the main thread can
                _signal.signal(number, _own(handler))
