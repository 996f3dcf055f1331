"""The weights that are looked at, in batches that a rule takes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.analysis.training.rule_watch.weight_sample import SamplePlace, choose
from optitrace.monitoring.parameters import groups_of
from optitrace.rules.rule import Rule
from optitrace.rules.rule_scope import Extent, extent
from optitrace.text.number_format import counted


@dataclass(frozen=True, slots=True, eq=False)
class ParameterBatch:
    """Places of one parameter group, dtype and device; a single one if the rule must see it whole.

    Attributes:
        group: the number of the parameter group.
        dtype: of the weights.
        places: where to look.
        extent: what the rule must see whole.
        owners: which place each weight is of, shape (coordinates,).
        parameters: the number of the parameter that each is of, shape (coordinates,).
    """

    group: int
    dtype: torch.dtype
    places: tuple[SamplePlace, ...]
    extent: Extent
    owners: Tensor
    parameters: Tensor

    @property
    def coordinates(self) -> int:
        """How many weights it has."""
        return len(self.owners)


def batches_of(rule: Rule, optimizer: Optimizer) -> tuple[tuple[ParameterBatch, ...], str]:
    """Return the batches to look at, and what is to be said of those parameters that are left out."""
    groups = groups_of(optimizer)
    whole = extent(rule)
    places = choose(groups, whole)
    parameters = [p for group in groups for p in group]
    numbers = [g for g, group in enumerate(groups) for _ in group]
    parts: dict[tuple[Any, ...], list[SamplePlace]] = {}
    for place in places:
        parameter = parameters[place.parameter]
        own = place.parameter if whole != "weight" else None
        key = numbers[place.parameter], parameter.dtype, parameter.device, own
        parts.setdefault(key, []).append(place)
    batches = tuple(_batch(group, dtype, of_it, whole) for (group, dtype, _, _), of_it in parts.items())
    return batches, _note(rule, places, parameters)


def _batch(group: int, dtype: torch.dtype, places: Sequence[SamplePlace], whole: Extent) -> ParameterBatch:
    owners = torch.tensor([k for k, place in enumerate(places) for _ in range(place.count)])
    parameters = torch.tensor([place.parameter for place in places])
    return ParameterBatch(group, dtype, tuple(places), whole, owners, parameters[owners])


def _note(rule: Rule, places: Sequence[SamplePlace], parameters: Sequence[Tensor]) -> str:
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
