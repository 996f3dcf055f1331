"""A monitoring session: from before a program imports torch until it has ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

from optitrace.monitoring.fault_isolation import deferring_handlers, undisturbed

if TYPE_CHECKING:
    from optitrace.monitoring.monitor import Monitor


class Session:
    """Monitors whatever runs while it is entered, once torch is loaded.

    Attributes:
        monitor: what monitors; None as long as torch is not loaded.
        failure: why nothing is monitored though torch is loaded; None if that has begun.
    """

    def __init__(self, make: Callable[[], Monitor]) -> None:
        """Prepare the status, which starts when entered.

        Args:
            make: makes the monitor, when torch is there.
        """
        self.monitor: Monitor | None = None
        self.failure: Exception | None = None
        self._make = make

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Monitor while entered."""
        undo: list[Callable[[], None]] = []

        @undisturbed
        def begin() -> None:
            try:
                from optitrace.monitoring.torch_hooks import TorchHooks

                monitor = self._make()
                hooks = TorchHooks(monitor)
                undo.append(hooks.end)
                hooks.begin()
                self.monitor = monitor
            except Exception as error:  # the program is in the midst of importing torch, and goes on
                self.failure = error

        try:
            with deferring_handlers(), _once_torch_is_loaded(begin):
                yield
        finally:
            for end in undo:
                end()


@contextmanager
def _once_torch_is_loaded(then: Callable[[], None]) -> Iterator[None]:
    """While entered, call a function as soon as torch is loaded; at once if it is already.

    The program imports torch itself: it may set up its environment first.
    """
    if "torch" in sys.modules:
        then()
        yield
        return
    finder = _TorchFinder(then)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        finder.leave()


class _TorchFinder(MetaPathFinder):
    """Finds torch where the other finders do, and calls a function once it is loaded."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch":
            return None
        self.leave()
        spec = find_spec("torch")
        if spec is not None and spec.loader is not None:
            spec.loader = _TorchLoader(spec.loader, self._then)
        return spec

    def leave(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class _TorchLoader(Loader):
    """Loads what another loader loads, then calls a function."""

    def __init__(self, loader: Loader, then: Callable[[], None]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._then()
