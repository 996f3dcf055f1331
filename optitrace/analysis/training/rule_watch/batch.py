"""The weights that are looked at in batches that a rule takes at once, and what they are at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.analysis.training.rule_watch.places import Place, choose, gradient_values, part_here, values
from optitrace.analysis.verification.quantities import COUNT
from optitrace.rules.extent import Extent, extent
from optitrace.rules.numerals import counted
from optitrace.rules.rule import Rule, StateEntry

State = Mapping[Tensor, Mapping[str, Any]]
"""An optimizer's state, by parameter."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Places of one parameter group, dtype and device; a single one if the rule must see it whole.

    Attributes:
        group: the number of the parameter group.
        dtype: of the weights.
        places: where to look.
        extent: what the rule must see whole.
    """

    group: int
    dtype: torch.dtype
    places: tuple[Place, ...]
    extent: Extent

    @property
    def coordinates(self) -> int:
        """How many weights it has."""
        return sum(place.count for place in self.places)

    @property
    def owners(self) -> Tensor:
        """Which place each of them is of, shape (coordinates,)."""
        counts = torch.tensor([place.count for place in self.places])
        return torch.repeat_interleave(torch.arange(len(counts)), counts)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The weights and the state of a batch, as torch has them.

    Attributes:
        weights: shape (coordinates,).
        state: the entries by torch's names, shape (coordinates,), or (places,) for what is one number
            for a whole parameter; those that no place has are not there.
        counts: the number of the last step of each place, as far as it is kept: see `_count`.
        is_counted: whether it is kept.
    """

    weights: Tensor
    state: Mapping[str, Tensor]
    counts: Sequence[float] | Tensor
    is_counted: bool


def batches_of(rule: Rule, optimizer: Optimizer) -> tuple[tuple[Batch, ...], str]:
    """Return the batches to look at, and what is to be said of those parameters that are left out."""
    groups = [group["params"] for group in optimizer.param_groups]
    whole = extent(rule)
    places = choose(groups, whole)
    parameters = [p for group in groups for p in group]
    numbers = [g for g, group in enumerate(groups) for _ in group]
    parts: dict[tuple[Any, ...], list[Place]] = {}
    for place in places:
        parameter = parameters[place.parameter]
        own = place.parameter if whole != "weight" else None
        key = numbers[place.parameter], parameter.dtype, parameter.device, own
        parts.setdefault(key, []).append(place)
    batches = tuple(Batch(group, dtype, tuple(of_it), whole) for (group, dtype, _, _), of_it in parts.items())
    return batches, _note(rule, places, parameters)


def snapshot(
    rule: Rule, batch: Batch, parameters: Sequence[Tensor], state: State, initial: Mapping[str, Any]
) -> Snapshot:
    """Return what a batch is now.

    Args:
        rule: whose state is wanted.
        batch: the batch.
        parameters: the optimizer's.
        state: the optimizer's.
        initial: the values of state that some places have not got yet, and others have.
    """
    own = [parameters[place.parameter] for place in batch.places]
    kept = [state.get(parameter) or {} for parameter in own]
    weights = torch.cat([values(part_here(p), place) for p, place in zip(own, batch.places, strict=True)])
    entries = {
        entry.key: line
        for entry in rule.state
        if (line := _line(entry, batch, kept, initial.get(entry.key))) is not None
    }
    counts = _together([_count(rule, entry) for entry in kept], weights.device)
    return Snapshot(weights, entries, counts, any(COUNT in entry for entry in kept))


def gradient(batch: Batch, parameters: Sequence[Tensor]) -> tuple[Tensor, tuple[bool, ...]]:
    """Return the gradient of a batch, 0 where there is none, and which places have one."""
    own = [(parameters[place.parameter].grad, place) for place in batch.places]
    first = parameters[batch.places[0].parameter]
    parts = [
        gradient_values(part_here(grad), place)
        if grad is not None
        else torch.zeros(place.count, dtype=first.dtype, device=first.device)
        for grad, place in own
    ]
    return torch.cat(parts), tuple(grad is not None for grad, _ in own)


def _line(entry: StateEntry, batch: Batch, kept: Sequence[Mapping[str, Any]], initial: Any) -> Tensor | None:
    """Return an entry of the state at all places; None if no place has it."""
    found = [_entry(entry, place, state) for place, state in zip(batch.places, kept, strict=True)]
    first = next((each for each in found if each is not None), None)
    if first is None:
        return None
    sizes = [1 if entry.scalar else place.count for place in batch.places]
    return torch.cat(
        [
            first.new_full((size,), float(initial or 0.0)) if each is None else each
            for each, size in zip(found, sizes, strict=True)
        ]
    )


def _entry(entry: StateEntry, place: Place, state: Mapping[str, Any]) -> Tensor | None:
    value = state.get(entry.key)
    if value is None:
        return None
    if entry.scalar:
        return torch.as_tensor(value).detach().reshape(1)
    part = part_here(value) if isinstance(value, Tensor) else None
    return values(part, place) if part is not None and tuple(part.shape) == place.shape else None


def _together(counts: Sequence[float | Tensor], device: torch.device) -> Sequence[float] | Tensor:
    """Return counts as numbers, or as one tensor if some of them are on an accelerator."""
    numbers = [count for count in counts if not isinstance(count, Tensor)]
    if len(numbers) == len(counts):
        return numbers
    return torch.stack([torch.as_tensor(count, device=device) for count in counts])


def _count(rule: Rule, kept: Mapping[str, Any]) -> float | Tensor:
    """Return the number of the last step: where torch keeps none, 0 before the first step and 1 after."""
    count = kept.get(COUNT)
    if isinstance(count, Tensor):
        return count.item() if count.device.type == "cpu" else count.detach().reshape(()).clone()
    if count is not None:
        return float(count)
    return float(any(kept.get(entry.key) is not None for entry in rule.state))


def _note(rule: Rule, places: Sequence[Place], parameters: Sequence[Tensor]) -> str:
    """Return which parameters are left out, where the rule must see them whole."""
    whole = extent(rule)
    if whole == "weight":
        return "" if places else "no parameter has numbers that a rule moves"
    shape = "of one dimension" if whole == "vector" else "of two dimensions"
    if not places:
        return f"the rule is for parameters {shape}, and none is small enough to be recomputed whole"
    if len(places) == len(parameters):
        return ""
    return (
        f"{len(places)} of {counted(len(parameters), 'parameter')} verified, small ones {shape}, "
        "which the rule must see whole"
    )
