"""What a rule is given of a step, and what it makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.training.rule_watch.batch import Batch, Snapshot
from optitrace.analysis.training.rule_watch.taken import Before, Taken
from optitrace.analysis.verification.quantities import COUNT, WEIGHTS
from optitrace.analysis.verification.recording import in_numbers
from optitrace.rules.extent import Extent
from optitrace.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Part:
    """Those weights of a batch whose step has the same number, in float64 on the host.

    Attributes:
        number: of the step, from 1, as the state counts it.
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

    number: int
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


def parts(rule: Rule, taken: Taken) -> Iterator[Part]:
    """Yield what the rule is given of a batch: a part for each number of a step, mostly a single one.

    Weights that have no gradient are left out, and those where a number is not finite to begin with.
    """
    batch, used, after = taken.before.batch, taken.gradient, taken.after
    settings = _settings(rule, used.settings, batch.dtype)
    gradient = _on_host(used.numbers)
    if used.scale is not None:
        gradient = gradient / _on_host(used.scale)
    state = _state(rule, batch, taken.before, settings)
    weights = _on_host(taken.before.snapshot.weights)
    kept = [entry.key for entry in rule.state if entry.exists(settings) and entry.key in after.state]
    found = {key: _by_coordinate(after.state[key], batch) for key in kept}
    found[WEIGHTS] = _on_host(after.weights)
    dtypes = {WEIGHTS: batch.dtype} | {key: value.dtype for key, value in after.state.items()}
    if after.is_counted:
        found[COUNT] = torch.tensor(_counts(after), dtype=torch.float64)[batch.owners]
    is_usable = _is_finite(batch, [weights, gradient, *(each for each in state if each is not None)])
    counts = _counts(taken.before.snapshot)
    for count in dict.fromkeys(c for c, has in zip(counts, used.has, strict=True) if has):
        places = torch.tensor([has and c == count for c, has in zip(counts, used.has, strict=True)])
        where = (places[batch.owners] & is_usable).nonzero().squeeze(1)
        if where.numel():
            yield Part(
                number=int(count) + 1,
                parameters=torch.tensor([place.parameter for place in batch.places])[batch.owners][where],
                extent=batch.extent,
                shape=batch.places[0].shape if batch.extent == "matrix" else (-1,),
                weights=weights[where],
                gradient=gradient[where],
                state=tuple(None if each is None else each[where] for each in state),
                settings=settings,
                found={name: value[where] for name, value in found.items()},
                dtypes=dtypes,
                is_capturable=used.is_capturable,
            )


def computed(rule: Rule, part: Part) -> dict[str, Any]:
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


def _settings(rule: Rule, used: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return the hyperparameters in numbers; those that a group lacks have the rule's default."""
    return in_numbers(
        {p.name: _number(used[p.name]) if p.name in used else p.default for p in rule.parameters}, dtype
    )


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_number(each) for each in value)
    return value.item() if isinstance(value, Tensor) else value


def _state(rule: Rule, batch: Batch, before: Before, settings: Mapping[str, Any]) -> list[Tensor | None]:
    """Return the state before a step, as it was or, where there was none yet, as the rule begins."""
    state: list[Tensor | None] = []
    for entry, initial in zip(rule.state, rule.initial_state(settings), strict=True):
        if initial is None:
            state.append(None)
        elif entry.key in before.snapshot.state:
            state.append(_by_coordinate(before.snapshot.state[entry.key], batch))
        else:
            state.append(torch.full((batch.coordinates,), float(initial), dtype=torch.float64))
    return state


def _by_coordinate(values: Tensor, batch: Batch) -> Tensor:
    """Return what is kept of each place or each weight as it is for each weight."""
    on_host = _on_host(values)
    return on_host if len(on_host) == batch.coordinates else on_host[batch.owners]


def _counts(snapshot: Snapshot) -> Sequence[float]:
    counts = snapshot.counts
    return counts.tolist() if isinstance(counts, Tensor) else counts


def _is_finite(batch: Batch, given: Sequence[Tensor]) -> Tensor:
    """Return which weights have only finite numbers; all or none where the rule must see them whole."""
    if sum(given[1:], given[0]).isfinite().all():
        return torch.ones(batch.coordinates, dtype=torch.bool)
    each = torch.stack([numbers.isfinite() for numbers in given]).all(0)
    return each if batch.extent == "weight" else torch.zeros_like(each)


def _on_host(numbers: Tensor) -> Tensor:
    """Return numbers as float64, which not every accelerator has, in the host's memory."""
    return numbers.cpu().double()
