"""Functions put around those of others, by several that come and go in any order."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Given a function, returns one to be put in its place."""

_WRAPPED: dict[tuple[Any, str], tuple[Callable[..., Any], list[Wrapper]]] = {}
"""The functions that are wrapped now, by where they lie, and what is around each, from the inside."""


def wrap(owner: Any, name: str, wrapper: Wrapper) -> Callable[[], None]:
    """Put a function in the place of one that a class or a module has; return what takes it away again.

    Whoever comes first may go first: what is left is put around the original anew.
    """
    place = (owner, name)
    _, wrappers = _WRAPPED.setdefault(place, (vars(owner)[name], []))
    wrappers.append(wrapper)
    _put(place)

    def undo() -> None:
        wrappers.remove(wrapper)
        _put(place)

    return undo


def _put(place: tuple[Any, str]) -> None:
    original, wrappers = _WRAPPED[place]
    setattr(*place, functools.reduce(lambda function, wrapper: wrapper(function), wrappers, original))
    if not wrappers:
        del _WRAPPED[place]
