"""Who has which parameter: the optimizers that do, and the parameters of models that none has."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from optitrace.tracing.watching.naming import Owned


@dataclass(frozen=True, slots=True)
class _Unowned:
    tensor: weakref.ref[Tensor]
    had_gradient: bool


class Ownership:
    """Knows optimizers by their names, and parameters by what they are."""

    def __init__(self) -> None:
        self._owners: dict[int, list[str]] = {}
        self._owned: dict[str, set[int]] = {}
        self._unowned: dict[str, _Unowned] = {}

    def own(self, optimizer: str, parameters: Sequence[Tensor]) -> None:
        """Note that an optimizer has parameters."""
        named = {id(one.tensor()): name for name, one in self._unowned.items()}
        owned = self._owned.setdefault(optimizer, set())
        for parameter in parameters:
            self._unowned.pop(named.get(id(parameter), ""), None)
            if id(parameter) not in owned:
                owned.add(id(parameter))
                self._owners.setdefault(id(parameter), []).append(optimizer)

    def let_go(self, optimizer: str) -> None:
        """Note that an optimizer is no more; what comes later may be in the place of its parameters."""
        for key in self._owned.pop(optimizer, ()):
            owners = self._owners[key]
            owners.remove(optimizer)
            if not owners:
                del self._owners[key]

    def look_at(self, models: Sequence[Sequence[Owned]]) -> None:
        """Note the parameters of models that no optimizer has so far."""
        for own in (own for model in models for own in model):
            if own.tensor.requires_grad and not self._owners.get(id(own.tensor)):
                had_gradient = own.tensor.grad is not None
                self._unowned[own.name] = _Unowned(weakref.ref(own.tensor), had_gradient)

    def owners(self, parameters: Iterable[int]) -> set[str]:
        """Return the names of the optimizers that have any of the parameters with these ids."""
        return {owner for key in parameters for owner in self._owners.get(key, ())}

    def sharing(self, optimizer: str) -> set[str]:
        """Return the names of the others that have any of an optimizer's parameters."""
        owned = self._owned.get(optimizer, ())
        return {owner for key in owned for owner in self._owners[key]} - {optimizer}

    def shared(self, optimizer: str, others: Collection[str]) -> dict[int, str]:
        """Return the first of other optimizers that has a parameter too, by the parameter's id."""
        return {
            key: sharing[0]
            for key in self._owned.get(optimizer, ())
            if (sharing := [owner for owner in self._owners[key] if owner in others])
        }

    def unowned(self) -> tuple[str, ...]:
        """Return the names of parameters that get gradients and that no optimizer has.

        One that wants a gradient and gets none is no fault: a target network is used without a graph.
        """
        return tuple(
            name
            for name, one in self._unowned.items()
            if one.had_gradient or ((tensor := one.tensor()) is not None and tensor.grad is not None)
        )
