"""A monitoring session: from before a program imports torch until it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optitrace.monitoring.signal_deferral import deferring_handlers, undisturbed
from optitrace.monitoring.torch_import import once_torch_is_loaded

if TYPE_CHECKING:
    from optitrace.monitoring.monitor import Monitor


class Session:
    """Watches whatever runs while it is entered, once torch is loaded.

    Attributes:
        watcher: what watches; None as long as torch is not loaded.
        failure: why nothing is watched though torch is loaded; None if that has begun.
    """

    def __init__(self, make: Callable[[], Monitor]) -> None:
        """Begin nothing yet.

        Args:
            make: makes the watcher, when torch is there.
        """
        self.watcher: Monitor | None = None
        self.failure: Exception | None = None
        self._make = make

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while entered."""
        undo: list[Callable[[], None]] = []

        @undisturbed
        def begin() -> None:
            try:
                from optitrace.monitoring.torch_hooks import TorchHooks

                watcher = self._make()
                interception = TorchHooks(watcher)
                undo.append(interception.end)
                interception.begin()
                self.watcher = watcher
            except Exception as error:  # the program is in the midst of importing torch, and goes on
                self.failure = error

        try:
            with deferring_handlers(), once_torch_is_loaded(begin):
                yield
        finally:
            for end in undo:
                end()
