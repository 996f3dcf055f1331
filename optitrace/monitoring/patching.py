"""Wrappers around functions of other packages, which can be removed in any order."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import CellType
from typing import Any, Protocol

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Given a function, returns one to be put in its place."""


class PatchTarget(Protocol):
    """Where a function lies; two that are the same are equal."""

    def get(self) -> Callable[..., Any]:
        """Return the function that lies there."""

    def put(self, function: Callable[..., Any]) -> None:
        """Put another there."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a class or a module has.

    Attributes:
        owner: the class or the module.
        name: of the function in it.
    """

    owner: Any
    name: str

    def get(self) -> Callable[..., Any]:
        """Return the function that lies there."""
        return vars(self.owner)[self.name]  # type: ignore[no-any-return]

    def put(self, function: Callable[..., Any]) -> None:
        """Put another there."""
        setattr(self.owner, self.name, function)


@dataclass(frozen=True, slots=True)
class Decorated:
    """The function that a decorator has put another around: whoever has that one calls what lies here.

    Attributes:
        by: what the decorator has made.
    """

    by: Callable[..., Any]

    def get(self) -> Callable[..., Any]:
        """Return the function that lies there."""
        return self._cell().cell_contents  # type: ignore[no-any-return]

    def put(self, function: Callable[..., Any]) -> None:
        """Put another there."""
        self._cell().cell_contents = function

    def _cell(self) -> CellType:
        [cell] = _cells(self.by)
        return cell


_WRAPPED: dict[PatchTarget, tuple[Callable[..., Any], list[Wrapper]]] = {}
"""The functions that are wrapped now, by where they lie, and what is around each, from the inside."""


def is_decorated(function: Callable[..., Any]) -> bool:
    """Return whether a function wraps another one, which `Decorated` can then find."""
    cells = _cells(function)
    return len(cells) == 1 and inspect.unwrap(cells[0].cell_contents) is inspect.unwrap(function)


def wrap(place: PatchTarget, wrapper: Wrapper) -> Callable[[], None]:
    """Put a function in the place of another; return what takes it away again.

    Whoever comes first may go first: what is left is put around the original anew.
    """
    _, wrappers = _WRAPPED.setdefault(place, (place.get(), []))
    wrappers.append(wrapper)
    _put(place)

    def undo() -> None:
        wrappers.remove(wrapper)
        _put(place)

    return undo


def _put(place: PatchTarget) -> None:
    original, wrappers = _WRAPPED[place]
    place.put(functools.reduce(lambda function, wrapper: wrapper(function), wrappers, original))
    if not wrappers:
        del _WRAPPED[place]


def _cells(function: Callable[..., Any]) -> tuple[CellType, ...]:
    """Return what a function has of its surroundings, if it says that it is around another."""
    return getattr(function, "__closure__", None) or () if hasattr(function, "__wrapped__") else ()
