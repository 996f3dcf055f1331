"""Map from parameters to the optimizers that own them, and the parameters that none owns."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from optitrace.monitoring.parameter_names import Owned
from optitrace.records.training import UnownedParameter


@dataclass(slots=True)
class _Candidate:
    """A parameter of a model that no optimizer has, and may have no gradient.

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


class Ownership:
    """Maps parameters to the names of the optimizers that own them."""

    def __init__(self) -> None:
        self._owners: dict[int, list[str]] = {}
        self._owned: dict[str, set[int]] = {}
        self._candidates: dict[int, _Candidate] = {}
        self._gone: list[_Candidate] = []

    def own(self, optimizer: str, parameters: Sequence[Tensor]) -> None:
        """Record the parameters that an optimizer owns."""
        owned = self._owned.setdefault(optimizer, set())
        for parameter in parameters:
            if (known := self._candidates.get(id(parameter))) is not None and known.tensor() is parameter:
                del self._candidates[id(parameter)]
            if id(parameter) not in owned:
                owned.add(id(parameter))
                self._owners.setdefault(id(parameter), []).append(optimizer)

    def let_go(self, optimizer: str) -> None:
        """Forget an optimizer: the ids of its parameters may be reused."""
        self._candidates = {
            key: one
            for key, one in self._candidates.items()
            if one.optimizer != optimizer or one.by is not None
        }
        for key in self._owned.pop(optimizer, ()):
            owners = self._owners[key]
            owners.remove(optimizer)
            if not owners:
                del self._owners[key]

    def look_at(self, models: Sequence[Sequence[Owned]], optimizer: str, step: int) -> None:
        """Look for gradients of the parameters of models that no optimizer has so far.

        Args:
            models: that an optimizer has parameters of.
            optimizer: its name.
            step: which of its steps is about to be taken, or was just taken.
        """
        for own in (own for model in models for own in model):
            key = id(own.tensor)
            if self._owners.get(key):
                continue
            known = self._candidates.get(key)
            if known is not None and known.tensor() is not own.tensor:  # it is no more
                self._gone += [known] * (known.by is not None)
                known = None
            if known is None:
                self._candidates[key] = _Candidate(own.name, weakref.ref(own.tensor), optimizer)
        self.look_again(optimizer, step)

    def look_again(self, optimizer: str, step: int) -> None:
        """Look at the parameters that are known not to be in any, after a step of an optimizer."""
        for candidate in self._candidates.values():
            if candidate.optimizer == optimizer:
                candidate.look(step)

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

    def unowned(self) -> tuple[UnownedParameter, ...]:
        """Return the parameters that get gradients and that no optimizer has.

        One that wants a gradient and gets none is no fault: a target network is used without a graph.
        """
        return tuple(
            UnownedParameter(one.name, one.optimizer, one.looked + 1, one.by)
            for one in (*self._gone, *self._candidates.values())
            if one.by is not None
        )
