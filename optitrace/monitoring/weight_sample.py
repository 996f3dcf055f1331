"""The sample of an optimizer's weights that is looked at: a few of each parameter, or small ones whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from random import Random

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.functions import Extent
from optitrace.monitoring.parameters import groups_of
from optitrace.monitoring.tensor_values import is_sharded, local
from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import extent
from optitrace.text import counted, listed

SAMPLE = 64
"""The largest number of weights sampled of an optimizer whose rule is elementwise."""

MOST_PLACES = 64
"""Of how many parameters some are sampled."""

MOST_WHOLE = 4096
"""The same for a rule that needs whole parameters: the smallest ones are taken."""

SEED = 0


@dataclass(frozen=True, slots=True)
class SamplePlace:
    """Some weights of a parameter: the numbers start, start + stride, … of it, in row-major order.

    Attributes:
        parameter: its number among the optimizer's parameters.
        shape: of the parameter, or of the part of it that this process has.
        start: the first weight.
        stride: from a weight to the next.
        count: the number of weights.
    """

    parameter: int
    shape: tuple[int, ...]
    start: int
    stride: int
    count: int

    @property
    def is_whole(self) -> bool:
        """Whether these are all weights of the parameter."""
        return self.count == math.prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class ParameterBatch:
    """Places of one parameter group, dtype and device; a single one if the rule must see it whole.

    Attributes:
        group: the number of the parameter group.
        dtype: of the weights.
        places: the weights, parameter by parameter.
        extent: what the rule must see whole.
        owners: the number of the place that each weight is of, shape (coordinates,).
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
        """The number of its weights."""
        return len(self.owners)


def batches_of(rule: Rule, optimizer: Optimizer) -> tuple[tuple[ParameterBatch, ...], str]:
    """Return the batches to verify, and a note on the parameters that are left out."""
    if rows := [entry.key for entry in rule.state if entry.is_of_matrices]:
        return (), f"{listed(rows)} is kept of rows or columns, which is not read in a training"
    groups, whole = groups_of(optimizer), extent(rule)
    places = choose(groups, whole)
    parameters = [p for group in groups for p in group]
    numbers = [g for g, group in enumerate(groups) for _ in group]
    batches: dict[tuple[object, ...], list[SamplePlace]] = {}
    for place in places:
        parameter = parameters[place.parameter]
        own = place.parameter if whole != "weight" else None
        key = numbers[place.parameter], parameter.dtype, parameter.device, own
        batches.setdefault(key, []).append(place)
    made = tuple(
        _batch(numbers[each[0].parameter], parameters[each[0].parameter].dtype, each, whole)
        for each in batches.values()
    )
    return made, _note(whole, places, parameters)


def choose(groups: Sequence[Sequence[Tensor]], extent: Extent, most: int = SAMPLE) -> list[SamplePlace]:
    """Return the places to sample, in the order of the parameters; always the same for the same parameters.

    Args:
        groups: the parameters of each group.
        extent: what the rule must see whole.
        most: how many weights are sampled, where a rule moves each by itself; all if there are no more.
    """
    numbered: list[list[tuple[int, Tensor]]] = []
    for group in groups:
        begin = sum(map(len, numbered))
        numbered.append([(begin + k, p) for k, p in enumerate(group)])
    usable = [[(k, p) for k, p in group if _is_usable(p, extent)] for group in numbered]
    places = (
        _spread(usable, most) if extent == "weight" else _whole(pair for group in usable for pair in group)
    )
    return sorted(places, key=lambda place: place.parameter)


def values(tensor: Tensor, place: SamplePlace) -> Tensor:
    """Return the numbers of a tensor at a place, shape (count,), without a copy of the tensor.

    Args:
        tensor: of the place's shape, on any device; sparse ones have 0 where they have nothing.
        place: where to look.
    """
    if tensor.layout is not torch.strided:
        return _values_of_sparse(tensor, place)[0]
    if tensor.is_contiguous():
        begin = tensor.storage_offset() + place.start
        return tensor.as_strided((place.count,), (place.stride,), begin)
    return tensor[_indices(place, tensor.device)]


def gradient_values(gradient: Tensor, place: SamplePlace) -> Tensor:
    """Return the numbers of a gradient at a place.

    SparseAdam moves a weight that its gradient names even if the number there is zero, and leaves one that
    it does not name. Its rule asks whether the number is zero, so such a zero is made the smallest number.
    """
    if gradient.layout is torch.strided:
        return values(gradient, place)
    numbers, is_named = _values_of_sparse(gradient, place)
    numbers = numbers.double()
    return torch.where(is_named & (numbers == 0), torch.finfo(numbers.dtype).tiny, numbers)


def _batch(group: int, dtype: torch.dtype, places: Sequence[SamplePlace], whole: Extent) -> ParameterBatch:
    owners = torch.tensor([k for k, place in enumerate(places) for _ in range(place.count)])
    parameters = torch.tensor([place.parameter for place in places])
    return ParameterBatch(group, dtype, tuple(places), whole, owners, parameters[owners])


def _note(whole: Extent, places: Sequence[SamplePlace], parameters: Sequence[Tensor]) -> str:
    """Return which parameters are left out, where the rule must see them whole."""
    if whole == "weight":
        return "" if places else "no parameter has numbers that a rule updates"
    shape = "of one dimension" if whole == "vector" else "of two dimensions"
    if not places:
        return f"the rule is for parameters {shape}, and none is small enough to be recomputed whole"
    if len(places) == len(parameters):
        return ""
    return (
        f"{len(places)} of {counted(len(parameters), 'parameter')} verified, small ones {shape}, "
        "which the rule must see whole"
    )


def _is_usable(parameter: Tensor, extent: Extent) -> bool:
    if not parameter.is_floating_point() or not local(parameter).numel():
        return False
    if extent == "weight":
        return True
    return not is_sharded(parameter) and (parameter.ndim <= 1 if extent == "vector" else parameter.ndim == 2)


def _spread(groups: Sequence[Sequence[tuple[int, Tensor]]], most: int) -> list[SamplePlace]:
    """Take all weights, or a few of each parameter; of some in each group if there are too many."""
    every = [pair for group in groups for pair in group]
    if len(every) <= MOST_PLACES and sum(local(p).numel() for _, p in every) <= most:
        return [_all_of(k, p) for k, p in every]
    random = Random(SEED)
    # those that are frozen come last, since they may never move
    orders = [
        sorted(random.sample(list(group), len(group)), key=lambda pair: not pair[1].requires_grad)
        for group in groups
    ]
    in_turn = [pair for each in zip_longest(*orders) for pair in each if pair is not None][:MOST_PLACES]
    share = most // len(in_turn) if in_turn else 0
    return [_place(k, p, min(share, local(p).numel()), random) for k, p in in_turn]


def _all_of(number: int, parameter: Tensor) -> SamplePlace:
    part = local(parameter)
    return SamplePlace(number, tuple(part.shape), 0, 1, part.numel())


def _place(number: int, parameter: Tensor, count: int, random: Random) -> SamplePlace:
    """Return a place of so many weights; its stride is random, so as not to follow a column."""
    part = local(parameter)
    widest = part.numel() // count
    stride = random.randint(max(1, 2 * widest // 3), widest)
    start = random.randrange(part.numel() - stride * (count - 1))
    return SamplePlace(number, tuple(part.shape), start, stride, count)


def _whole(parameters: Iterable[tuple[int, Tensor]]) -> list[SamplePlace]:
    """Take whole parameters, the smallest first."""
    places: list[SamplePlace] = []
    for number, parameter in sorted(parameters, key=lambda pair: pair[1].numel()):
        if sum(place.count for place in places) + parameter.numel() > MOST_WHOLE:
            break
        places.append(_all_of(number, parameter))
    return places


def _values_of_sparse(tensor: Tensor, place: SamplePlace) -> tuple[Tensor, Tensor]:
    """Return the numbers at a place, and which of them the tensor names."""
    found = tensor.coalesce()
    at = torch.stack(_indices(place, found.device))
    sparse = found.sparse_dim()
    is_at = (found.indices()[:, :, None] == at[:sparse, None, :]).all(0)
    numbers = found.values()
    numbers = numbers[:, *at[sparse:]] if found.dense_dim() else numbers[:, None].expand_as(is_at)
    return torch.where(is_at, numbers, 0).sum(0), is_at.any(0)


@lru_cache(maxsize=1024)
def _indices(place: SamplePlace, device: torch.device) -> tuple[Tensor, ...]:
    """Return the index of each weight of a place, an axis after the other."""
    flat = place.start + place.stride * torch.arange(place.count, device=device)
    strides = [math.prod(place.shape[axis + 1 :]) for axis in range(len(place.shape))]
    return tuple(flat // stride % size for stride, size in zip(strides, place.shape, strict=True))
