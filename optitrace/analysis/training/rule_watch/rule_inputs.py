"""What a rule is given of a step, and what it makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.training.rule_watch.batch import ParameterBatch
from optitrace.analysis.training.rule_watch.step_capture import Before, Taken
from optitrace.analysis.training.rule_watch.tensor_sampler import Snapshot
from optitrace.analysis.verification.quantities import COUNT, WEIGHTS
from optitrace.analysis.verification.recording import in_numbers
from optitrace.functions import Extent
from optitrace.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class RuleInputs:
    """Those weights of a batch whose step has the same number, in float64 on the host.

    Attributes:
        number: of the step, from 1, as the state counts it; a tensor of shape () where that is tried.
        parameters: the number of the parameter that each weight is of, shape (coordinates,).
        extent: what the rule must see whole.
        shape: in which it wants weights, gradient and state.
        weights: before the step, shape (coordinates,), as all below.
        gradient: what the step used.
        state: before the step, in the rule's order; None for what does not exist.
        settings: every hyperparameter of the rule.
        found: weights and state after the step, by name.
        dtypes: in which torch keeps each of these.
        is_capturable: see `Gradient`.
    """

    number: int | Tensor
    parameters: Tensor
    extent: Extent
    shape: tuple[int, ...]
    weights: Tensor
    gradient: Tensor
    state: tuple[Tensor | None, ...]
    settings: Mapping[str, Any]
    found: Mapping[str, Tensor]
    dtypes: Mapping[str, torch.dtype]
    is_capturable: bool


def parts(rule: Rule, taken: Taken) -> Iterator[RuleInputs]:
    """Yield what the rule is given of a batch: a part for each number of a step, mostly a single one.

    Weights that have no gradient are left out, and those where a number is not finite to begin with.
    """
    batch, has, whole = taken.before.batch, taken.gradient.has, _whole(rule, taken)
    is_finite = _is_finite(whole)
    counts, counts_after = _counts(taken.before.snapshot), _counts(taken.after)
    for count in dict.fromkeys(c for c, is_given in zip(counts, has, strict=True) if is_given):
        is_in = [is_given and c == count for c, is_given in zip(counts, has, strict=True)]
        part = replace(whole, number=int(count) + 1)
        after = {c for c, is_it in zip(counts_after, is_in, strict=True) if is_it}
        if taken.after.is_counted and after != {count + 1}:
            part = replace(part, found={**part.found, COUNT: torch.tensor(counts_after)[batch.owners]})
        if not all(is_in) or is_finite is not None:
            chosen = torch.tensor(is_in)[batch.owners]
            part = _selected(part, chosen if is_finite is None else chosen & is_finite)
        if part.weights.numel():
            yield part


def computed(rule: Rule, part: RuleInputs) -> dict[str, Any]:
    """Return the weights and the state, by name, that a rule makes of a part."""
    state = (None if each is None else each.reshape(part.shape) for each in part.state)
    new = rule(
        part.weights.reshape(part.shape),
        part.gradient.reshape(part.shape),
        part.number,
        *state,
        **part.settings,
    )
    names = (WEIGHTS, *(entry.key for entry in rule.state))
    return {
        name: value.reshape(-1) if isinstance(value, Tensor) else value
        for name, value in zip(names, new, strict=True)
    }


def _whole(rule: Rule, taken: Taken) -> RuleInputs:
    """Return all of a batch, as if every weight were at the same step."""
    batch, used, after = taken.before.batch, taken.gradient, taken.after
    settings = in_numbers({name: _number(value) for name, value in used.settings.items()}, batch.dtype)
    gradient = _on_host(used.numbers)
    found = {
        entry.key: _by_coordinate(after.state[entry.key], batch)
        for entry in rule.state
        if entry.exists(settings) and entry.key in after.state
    }
    return RuleInputs(
        number=1,
        parameters=batch.parameters,
        extent=batch.extent,
        shape=batch.places[0].shape if batch.extent == "matrix" else (-1,),
        weights=_on_host(taken.before.snapshot.weights),
        gradient=gradient if used.scale is None else gradient / _on_host(used.scale),
        state=_state(rule, batch, taken.before, settings),
        settings=settings,
        found=found | {WEIGHTS: _on_host(after.weights)},
        dtypes={key: value.dtype for key, value in after.state.items()} | {WEIGHTS: batch.dtype},
        is_capturable=used.is_capturable,
    )


def _selected(part: RuleInputs, chosen: Tensor) -> RuleInputs:
    """Return some of the weights of a part."""
    return replace(
        part,
        parameters=part.parameters[chosen],
        weights=part.weights[chosen],
        gradient=part.gradient[chosen],
        state=tuple(None if each is None else each[chosen] for each in part.state),
        found={name: value[chosen] for name, value in part.found.items()},
    )


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_number(each) for each in value)
    return value.item() if isinstance(value, Tensor) else value


def _state(
    rule: Rule, batch: ParameterBatch, before: Before, settings: Mapping[str, Any]
) -> tuple[Tensor | None, ...]:
    """Return the state before a step, as it was or, where there was none yet, as the rule begins."""
    state: list[Tensor | None] = []
    for entry, initial in zip(rule.state, rule.initial_state(settings), strict=True):
        if initial is None:
            state.append(None)
        elif entry.key in before.snapshot.state:
            state.append(_by_coordinate(before.snapshot.state[entry.key], batch))
        else:
            state.append(torch.full((batch.coordinates,), float(initial), dtype=torch.float64))
    return tuple(state)


def _by_coordinate(values: Tensor, batch: ParameterBatch) -> Tensor:
    """Return what is kept of each place or each weight as it is for each weight."""
    on_host = _on_host(values)
    return on_host if len(on_host) == batch.coordinates else on_host[batch.owners]


def _counts(snapshot: Snapshot) -> Sequence[float]:
    counts = snapshot.counts
    return counts.tolist() if isinstance(counts, Tensor) else counts


def _is_finite(part: RuleInputs) -> Tensor | None:
    """Return which weights have only finite numbers; none where the rule must see them whole. None if all."""
    given = [part.weights, part.gradient, *(each for each in part.state if each is not None)]
    if math.isfinite(sum(float(numbers.sum()) for numbers in given)):
        return None
    each = torch.stack([numbers.isfinite() for numbers in given]).all(0)
    return each if part.extent == "weight" or each.all() else torch.zeros_like(each)


def _on_host(numbers: Tensor) -> Tensor:
    """Return numbers as float64, which not every accelerator has, in the host's memory."""
    return numbers.cpu().double()
