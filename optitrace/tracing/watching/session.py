"""A session of watching: from before a program loads torch until it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optitrace.tracing.watching.signal_deferral import deferring_handlers, undisturbed
from optitrace.tracing.watching.torch_loading import once_torch_is_loaded

if TYPE_CHECKING:
    from optitrace.tracing.watching.watcher import Watcher


class Session:
    """Watches whatever runs while it is entered, once torch is loaded.

    Attributes:
        watcher: what watches; None as long as torch is not loaded.
        failure: why nothing is watched though torch is loaded; None if that has begun.
    """

    def __init__(self, make: Callable[[], Watcher]) -> None:
        """Begin nothing yet.

        Args:
            make: makes the watcher, when torch is there.
        """
        self.watcher: Watcher | None = None
        self.failure: Exception | None = None
        self._make = make

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while entered."""
        undo: list[Callable[[], None]] = []

        @undisturbed
        def begin() -> None:
            try:
                from optitrace.tracing.watching.interception import Interception

                watcher = self._make()
                interception = Interception(watcher)
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
