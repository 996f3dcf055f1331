"""The reader: what the weights of a batch, their state and their gradient are at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.training.rule_watch.batch import ParameterBatch
from optitrace.analysis.training.rule_watch.weight_sample import SamplePlace, gradient_values, values
from optitrace.analysis.verification.quantities import COUNT
from optitrace.monitoring.tensor_values import local
from optitrace.rules.rule import Rule, StateEntry

State = Mapping[Tensor, Mapping[str, Any]]
"""An optimizer's state, by parameter."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The weights and the state of a batch, as torch has them.

    Attributes:
        weights: shape (coordinates,).
        state: the entries by torch's names, shape (coordinates,), or (places,) for what is one number
            for a whole parameter; those that no place has are not there.
        counts: the number of the last step of each place, as far as it is kept: see `_counts`.
        is_counted: whether it is kept.
    """

    weights: Tensor
    state: Mapping[str, Tensor]
    counts: Sequence[float] | Tensor
    is_counted: bool


class Reader:
    """Reads one batch, again and again."""

    def __init__(self, rule: Rule, batch: ParameterBatch, parameters: Sequence[Tensor]) -> None:
        """Begin.

        Args:
            rule: whose state is wanted.
            batch: where to look.
            parameters: all of the optimizer's.
        """
        self.batch = batch
        self._rule = rule
        self._parameters = [parameters[place.parameter] for place in batch.places]
        self._weights = _Line(batch.places)
        self._entries = {entry.key: _Line(batch.places) for entry in rule.state if not entry.scalar}

    def snapshot(self, state: State, initial: Mapping[str, Any]) -> Snapshot:
        """Return what the weights and the state are now.

        Args:
            state: the optimizer's.
            initial: the values of state that some places have not got yet, and others have.
        """
        kept = [state.get(parameter) or {} for parameter in self._parameters]
        weights = self._weights.read([local(p) for p in self._parameters])
        entries = {
            entry.key: line
            for entry in self._rule.state
            if (line := self._entry(entry, kept, initial.get(entry.key))) is not None
        }
        counts = _counts(self._rule, kept)
        return Snapshot(weights, entries, counts, any(COUNT in entry for entry in kept))

    def gradient(self) -> tuple[Tensor, tuple[bool, ...]]:
        """Return the gradient, 0 where there is none, and which places have one."""
        gradients = [p.grad for p in self._parameters]
        numbers = [
            p.detach().new_zeros(place.count) if g is None else gradient_values(local(g), place)
            for p, g, place in zip(self._parameters, gradients, self.batch.places, strict=True)
        ]
        return torch.cat(numbers), tuple(g is not None for g in gradients)

    def _entry(self, entry: StateEntry, kept: Sequence[Mapping[str, Any]], initial: Any) -> Tensor | None:
        """Return an entry of the state at all places; None if no place has it."""
        found = [each.get(entry.key) for each in kept]
        present = [each for each in found if each is not None]
        if not present:
            return None
        if entry.scalar:
            numbers = [initial if each is None else each for each in found]
            return torch.stack([torch.as_tensor(each).detach().reshape(()) for each in numbers])
        first = torch.as_tensor(present[0])
        tensors = [
            first.new_full(place.shape, float(initial or 0.0)) if each is None else local(each)
            for each, place in zip(found, self.batch.places, strict=True)
        ]
        shapes = [place.shape for place in self.batch.places]
        return self._entries[entry.key].read(tensors) if [t.shape for t in tensors] == shapes else None


class _Line:
    """The numbers of some tensors at places, in one line.

    The views of them are kept as long as the tensors stay where they are in memory, which the views hold.
    """

    def __init__(self, places: Sequence[SamplePlace]) -> None:
        self._places = places
        self._addresses: list[int] = []
        self._views: list[Tensor] = []

    def read(self, tensors: Sequence[Tensor]) -> Tensor:
        if not all(tensor.layout is torch.strided and tensor.is_contiguous() for tensor in tensors):
            return torch.cat([values(*each) for each in zip(tensors, self._places, strict=True)])
        addresses = [tensor.data_ptr() for tensor in tensors]
        if addresses != self._addresses:
            self._addresses = addresses
            self._views = [values(*each) for each in zip(tensors, self._places, strict=True)]
        return torch.cat(self._views)


def _counts(rule: Rule, kept: Sequence[Mapping[str, Any]]) -> Sequence[float] | Tensor:
    """Return the numbers of the last steps: where torch keeps none, 0 before the first step and 1 after."""
    counts = [each.get(COUNT, 0.0) for each in kept]
    if any(isinstance(count, Tensor) for count in counts):
        first = next(count for count in counts if isinstance(count, Tensor))
        return torch.stack([torch.as_tensor(c, device=first.device, dtype=first.dtype) for c in counts])
    if any(COUNT in each for each in kept):
        return counts
    return [float(any(each.get(entry.key) is not None for entry in rule.state)) for each in kept]
