"""Registry of the modules of a program that own parameters of an optimizer."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Collection, Iterable, Sequence

from torch import Tensor
from torch.nn import Module

from optitrace.monitoring.torch_internals import own_modules, own_parameters

MOST_IN_VAIN = 8
"""How many searches in a row may find no owner: each looks at all objects that there are."""


class ModuleRegistry:
    """Knows the modules of a program, as long as they live.

    A program may make thousands of optimizers, and a search among all objects takes as long as hundreds of
    steps of a small one. So there is one search, and another only for parameters that no known module has.
    """

    def __init__(self) -> None:
        self._known: dict[int, weakref.ref[Module]] = {}
        self._has_searched = False
        self._in_vain = 0

    def add(self, module: Module) -> None:
        """Register a module."""
        key = id(module)
        if key not in self._known:
            self._known[key] = weakref.ref(module, functools.partial(self._known.pop, key))

    def owning(self, parameters: Sequence[Tensor]) -> list[Module]:
        """Return the modules that no other module has and that can have some of these parameters.

        They come in the order in which they were made, about.
        """
        missing = {id(p) for p in parameters}
        if self._has_searched:
            modules = self._modules()
            holders = _holders(modules, missing)
            missing -= _held(holders)
            if not missing or self._in_vain == MOST_IN_VAIN:
                return _above(modules, holders)
        return self._search(missing)

    def _search(self, missing: Collection[int]) -> list[Module]:
        """Search all objects for modules; return those that no other module contains."""
        self._has_searched = True
        # an object may pretend to be of another class, and compute what it pretends: its type cannot
        for item in gc.get_objects():
            if issubclass(type(item), Module):
                self.add(item)
        modules = self._modules()
        children = {id(child) for module in modules for child in _children(module)}
        found = [module for module in modules if id(module) not in children]
        is_found = any(id(p) in missing for module in found for p in module.parameters())
        self._in_vain = 0 if is_found else self._in_vain + 1
        return found

    def _modules(self) -> list[Module]:
        alive = (reference() for reference in list(self._known.values()))
        return [module for module in alive if module is not None and own_parameters(module) is not None]


def _children(module: Module) -> Iterable[Module]:
    return [child for child in own_modules(module).values() if child is not None]


def _holders(modules: Sequence[Module], wanted: Collection[int]) -> list[Module]:
    """Return the modules that have one of some parameters themselves, by the parameters' ids."""
    return [m for m in modules if any(id(p) in wanted for p in (own_parameters(m) or {}).values())]


def _held(modules: Sequence[Module]) -> set[int]:
    """Return the ids of the parameters that modules have themselves."""
    return {id(p) for module in modules for p in (own_parameters(module) or {}).values()}


def _above(modules: Sequence[Module], below: Sequence[Module]) -> list[Module]:
    """Return those modules that no other has and that are, or have at any depth, one of some others."""
    parents: dict[int, list[Module]] = {}
    for module in modules:
        for child in _children(module):
            parents.setdefault(id(child), []).append(module)
    reached = {id(module) for module in below}
    waiting = list(below)
    while waiting:
        above = [p for p in parents.get(id(waiting.pop()), ()) if id(p) not in reached]
        reached.update(map(id, above))
        waiting += above
    return [module for module in modules if id(module) in reached and id(module) not in parents]
