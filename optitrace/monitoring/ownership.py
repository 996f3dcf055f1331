"""Who has a parameter: the modules that name it, and the optimizers that move it, or none."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import Module

from optitrace.monitoring.parameters import NamedParameter
from optitrace.monitoring.torch_internals import own_parameters, user_modules
from optitrace.records.training import UnownedParameter

MOST_IN_VAIN = 8
"""How many searches in a row may find no module: each looks at all objects that there are."""

MOST_NEWS = 64
"""After how many steps it is looked at once what modules were given before them."""


class Ownership:
    """Maps parameters to the names of the optimizers that have them."""

    def __init__(self) -> None:
        self._owners: dict[int, list[str]] = {}
        self._owned: dict[str, set[int]] = {}
        self._candidates: dict[int, _Candidate] = {}
        self._gone: list[_Candidate] = []

    def own(self, optimizer: str, parameters: Sequence[Tensor]) -> None:
        """Record the parameters that an optimizer has."""
        owned = self._owned.setdefault(optimizer, set())
        for parameter in parameters:
            key = id(parameter)
            if (known := self._candidates.get(key)) is not None and known.tensor() is parameter:
                del self._candidates[key]
            if key not in owned:
                owned.add(key)
                self._owners.setdefault(key, []).append(optimizer)

    def let_go(self, optimizer: str) -> None:
        """Forget an optimizer: the ids of its parameters may be reused."""
        candidates = self._candidates.items()
        self._candidates = {
            key: one for key, one in candidates if one.optimizer != optimizer or one.by is not None
        }
        for key in self._owned.pop(optimizer, ()):
            owners = self._owners[key]
            owners.remove(optimizer)
            if not owners:
                del self._owners[key]

    def look_at(self, models: Sequence[Sequence[NamedParameter]], optimizer: str, step: int) -> None:
        """Look for gradients of the parameters of models that no optimizer has so far.

        Args:
            models: those that have parameters of an optimizer.
            optimizer: the name of the optimizer.
            step: which of its steps is about to be taken, or was just taken.
        """
        for name, tensor in (named for model in models for named in model):
            key = id(tensor)
            if self._owners.get(key):
                continue
            known = self._candidates.get(key)
            if known is not None and known.tensor() is not tensor:  # it is no more
                self._gone += [known] * (known.by is not None)
                known = None
            if known is None:
                self._candidates[key] = _Candidate(name, weakref.ref(tensor), optimizer)
        self.look_again(optimizer, step)

    def look_again(self, optimizer: str, step: int) -> None:
        """Look at the parameters that no optimizer is known to have, after a step of an optimizer."""
        for candidate in self._candidates.values():
            if candidate.optimizer == optimizer:
                candidate.look(step)

    def owners(self, parameters: Iterable[int]) -> set[str]:
        """Return the names of the optimizers that have any of the parameters with these ids."""
        return {owner for key in parameters for owner in self._owners.get(key, ())}

    def sharing(self, optimizer: str) -> set[str]:
        """Return the names of the others that have any of an optimizer's parameters."""
        return self.owners(self._owned.get(optimizer, ())) - {optimizer}

    def shared(self, optimizer: str, others: Collection[str]) -> dict[int, str]:
        """Return the first of other optimizers that has a parameter too, by the parameter's id."""
        return {
            key: sharing[0]
            for key in self._owned.get(optimizer, ())
            if (sharing := [owner for owner in self._owners[key] if owner in others])
        }

    def unowned(self) -> tuple[UnownedParameter, ...]:
        """Return the parameters that get gradients and that no optimizer has.

        One that wants a gradient and gets none is no fault: a target network is used without a graph.
        """
        return tuple(
            UnownedParameter(one.name, one.optimizer, one.looked + 1, one.by)
            for one in (*self._gone, *self._candidates.values())
            if one.by is not None
        )


class ModuleRegistry:
    """The modules of a program, as long as they live.

    A program may make thousands of optimizers, and a search among all objects takes as long as hundreds of
    steps of a small one. So there is one search, and another only for parameters that no known module has.
    """

    def __init__(self) -> None:
        self._known: dict[int, weakref.ref[Module]] = {}
        self._has_searched = False
        self._in_vain = self._news = 0
        self._has_news = False

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._known)

    def has_news(self) -> bool:
        """Return whether modules were registered, or given others, since this was last asked.

        Where that goes on and on, it says no: a program may make modules in each step.
        """
        has_news, self._has_news = self._has_news and self._news < MOST_NEWS, False
        self._news += has_news
        return has_news

    def add(self, module: Module) -> None:
        """Register a module, or that it was given a parameter or another module."""
        key = id(module)
        self._has_news = True
        if key not in self._known:
            self._known[key] = weakref.ref(module, functools.partial(self._known.pop, key))

    def owning(self, parameters: Sequence[Tensor]) -> list[Module]:
        """Return the modules that no other module has and that can have some of these parameters.

        They come in the order in which they were made, about.
        """
        missing = set(map(id, parameters))
        if self._has_searched:
            modules = self._modules()
            holders = [module for module in modules if not missing.isdisjoint(_own_ids(module))]
            missing = missing.difference(*map(_own_ids, holders))
            if not missing or self._in_vain == MOST_IN_VAIN:
                return _roots_above(holders, modules)
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


@dataclass(slots=True)
class _Candidate:
    """A parameter of a model that no optimizer has, and that may have no gradient.

    Attributes:
        name: the model's name for it.
        tensor: the parameter.
        optimizer: the optimizer whose steps are counted: one that has others of the model.
        looked: the last of them after which it had no gradient.
        by: the first one by which it had one; None if there is none so far.
    """

    name: str
    tensor: weakref.ref[Tensor]
    optimizer: str
    looked: int = 0
    by: int | None = None

    def look(self, step: int) -> None:
        """See whether it has a gradient after a step."""
        tensor = self.tensor()
        if self.by is None and tensor is not None:
            if tensor.requires_grad and tensor.grad is not None:
                self.by = step
            else:
                self.looked = step


def _children(module: Module) -> list[Module]:
    return [child for child in user_modules(module).values() if child is not None]


def _own_ids(module: Module) -> Iterator[int]:
    """Yield the ids of the parameters that a module has itself."""
    return map(id, (own_parameters(module) or {}).values())


def _roots_above(below: Sequence[Module], modules: Sequence[Module]) -> list[Module]:
    """Return those modules that no other has and that are, or have at any depth, one of some others."""
    parents: dict[int, list[Module]] = {}
    for module in modules:
        for child in _children(module):
            parents.setdefault(id(child), []).append(module)
    reached = set(map(id, below))
    waiting = list(below)
    while waiting:
        above = [parent for parent in parents.get(id(waiting.pop()), ()) if id(parent) not in reached]
        reached.update(map(id, above))
        waiting += above
    return [module for module in modules if id(module) in reached and id(module) not in parents]
