"""Hooks for learning rate schedulers, each class of which may define `__init__` and `step`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from optitrace.monitoring.listener import Listener
from optitrace.monitoring.patching import Attribute, wrap


class SchedulerHooks:
    """Tells a listener of the schedulers that are made and stepped, from `begin` to `end`.

    One that is made or stepped by another is part of that.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._undo: list[Callable[[], None]] = []
        self._depth = 0
        self._seen: set[tuple[type[LRScheduler], str]] = set()

    def begin(self) -> None:
        """Wrap what the classes that there are have of their own."""
        for cls in _with_subclasses(LRScheduler):
            self._see(cls)

    def end(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()
        self._seen.clear()

    def _see(self, cls: type[LRScheduler]) -> None:
        """Wrap what a class of schedulers has of its own; one that came later is seen when one is made."""
        for name, wrapper in (("__init__", self._making), ("step", self._stepping)):
            if name in vars(cls) and (cls, name) not in self._seen:
                self._undo.append(wrap(Attribute(cls, name), wrapper))
                self._seen.add((cls, name))

    def _making(self, init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init)
        def wrapped(scheduler: LRScheduler, *args: Any, **kwargs: Any) -> None:
            for cls in type(scheduler).__mro__:
                if issubclass(cls, LRScheduler):
                    self._see(cls)
            self._depth += 1
            try:
                init(scheduler, *args, **kwargs)
            finally:
                self._depth -= 1
            if not self._depth:
                self._listener.scheduler_made(scheduler)

        return wrapped

    def _stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def wrapped(scheduler: LRScheduler, *args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            try:
                returned = step(scheduler, *args, **kwargs)
            finally:
                self._depth -= 1
            if not self._depth:
                self._listener.scheduler_stepped(scheduler)
            return returned

        return wrapped


def _with_subclasses(cls: type[LRScheduler]) -> Iterator[type[LRScheduler]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)
