"""Wrappers around functions of other packages, which can be removed in any order."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import CellType
from typing import Any

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Given a function, returns one to be put in its place."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A function that a class or a module has under a name."""

    owner: Any
    name: str

    def get(self) -> Callable[..., Any]:
        """Return the function that is there."""
        return vars(self.owner)[self.name]  # type: ignore[no-any-return]

    def put(self, function: Callable[..., Any]) -> None:
        """Put another there."""
        setattr(self.owner, self.name, function)


@dataclass(frozen=True, slots=True)
class Decorated:
    """The function that a decorator has wrapped: whoever imported the wrapper calls what is here."""

    wrapper: Callable[..., Any]

    def get(self) -> Callable[..., Any]:
        """Return the function that is there."""
        return _cells(self.wrapper)[0].cell_contents  # type: ignore[no-any-return]

    def put(self, function: Callable[..., Any]) -> None:
        """Put another there."""
        _cells(self.wrapper)[0].cell_contents = function


_WRAPPED: dict[Attribute | Decorated, tuple[Callable[..., Any], list[Wrapper]]] = {}
"""By place the original function and what is around it now, from the inside."""


def is_decorated(function: Callable[..., Any]) -> bool:
    """Return whether a function wraps one other, which `Decorated` can then find."""
    cells = _cells(function)
    return len(cells) == 1 and inspect.unwrap(cells[0].cell_contents) is inspect.unwrap(function)


def wrap(place: Attribute | Decorated, wrapper: Wrapper) -> Callable[[], None]:
    """Wrap the function at a place; return what takes the wrapper away again.

    Wrappers may go in any order: those that are left are put around the original anew.
    """
    _, wrappers = _WRAPPED.setdefault(place, (place.get(), []))
    wrappers.append(wrapper)
    _put(place)

    def undo() -> None:
        wrappers.remove(wrapper)
        _put(place)

    return undo


def _put(place: Attribute | Decorated) -> None:
    original, wrappers = _WRAPPED[place]
    place.put(functools.reduce(lambda function, wrapper: wrapper(function), wrappers, original))
    if not wrappers:
        del _WRAPPED[place]


def _cells(function: Callable[..., Any]) -> tuple[CellType, ...]:
    """Return the variables that a function has closed over, if it declares that it wraps another."""
    return getattr(function, "__closure__", None) or () if hasattr(function, "__wrapped__") else ()
