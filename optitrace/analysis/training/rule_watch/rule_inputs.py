"""The inputs of a rule in a captured step: a sample of an optimizer's weights, in float64 on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.training.rule_watch.step_capture import CapturedStep, Snapshot
from optitrace.analysis.verification.step_check import COUNT, WEIGHTS, StepInputs, numbers_in
from optitrace.monitoring.weight_sample import ParameterBatch
from optitrace.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class SampledStep:
    """Those weights of a batch that are at the same step.

    Attributes:
        step: the step's number, as the training has it.
        parameters: the number of the parameter that each weight is of, shape (coordinates,).
        has_hooks: see `CapturedStep`.
        inputs: what the rule is given of them.
    """

    step: int
    parameters: Tensor
    has_hooks: bool
    inputs: StepInputs


def sampled_steps(rule: Rule, captured: CapturedStep) -> Iterator[SampledStep]:
    """Yield the inputs of the rule for a batch, once for each step number: usually a single one.

    Weights that have no gradient are left out, and those where a number is not finite to begin with; all of
    them if a GradScaler made the optimizer skip the step.
    """
    if captured.is_skipped:
        return
    batch, has_gradient = captured.batch, captured.gradient.has
    whole = _whole_batch(rule, captured)
    is_finite = _is_finite(whole, batch)
    counts, counts_after = _counts(captured.before), _counts(captured.after)
    for count in dict.fromkeys(c for c, has in zip(counts, has_gradient, strict=True) if has):
        is_in = [has and c == count for c, has in zip(counts, has_gradient, strict=True)]
        inputs, parameters = replace(whole, number=int(count) + 1), batch.parameters
        after = {c for c, is_it in zip(counts_after, is_in, strict=True) if is_it}
        if captured.after.is_counted and after != {count + 1}:
            wrong = torch.tensor(counts_after)[batch.owners]
            inputs = replace(inputs, after={**inputs.after, COUNT: wrong})
        if not all(is_in) or is_finite is not None:
            chosen = torch.tensor(is_in)[batch.owners]
            chosen = chosen if is_finite is None else chosen & is_finite
            inputs, parameters = _with_each(inputs, itemgetter(chosen)), parameters[chosen]
        if not inputs.weights.numel():
            continue
        if batch.extent == "matrix":
            inputs = _with_each(inputs, lambda flat: flat.reshape(batch.places[0].shape))
        yield SampledStep(captured.step, parameters, captured.has_hooks, inputs)


def _whole_batch(rule: Rule, captured: CapturedStep) -> StepInputs:
    """Return the inputs of all weights of a batch, as if they were all at step 1; tensors are flat."""
    batch, gradient, after = captured.batch, captured.gradient, captured.after
    settings = numbers_in({name: _number(value) for name, value in gradient.settings.items()}, batch.dtype)
    numbers = _on_host(gradient.numbers)
    kept = {
        entry.key: _by_coordinate(after.state[entry.key], batch)
        for entry in rule.state
        if entry.exists(settings) and entry.key in after.state
    }
    return StepInputs(
        number=1,
        weights=_on_host(captured.before.weights),
        gradient=numbers if gradient.scale is None else numbers / _on_host(gradient.scale),
        state=_state_before(rule, captured, settings),
        settings=settings,
        after=kept | {WEIGHTS: _on_host(after.weights)},
        dtypes={key: value.dtype for key, value in after.state.items()} | {WEIGHTS: batch.dtype},
        is_capturable=gradient.is_capturable,
    )


def _state_before(
    rule: Rule, captured: CapturedStep, settings: Mapping[str, Any]
) -> tuple[Tensor | None, ...]:
    """Return the state before a step, or the rule's initial state where there was none yet."""
    state: list[Tensor | None] = []
    for entry, initial in zip(rule.state, rule.initial_state(settings), strict=True):
        if initial is None:
            state.append(None)
        elif entry.key in captured.before.state:
            state.append(_by_coordinate(captured.before.state[entry.key], captured.batch))
        else:
            state.append(torch.full((captured.batch.coordinates,), float(initial), dtype=torch.float64))
    return tuple(state)


def _with_each(inputs: StepInputs, change: Callable[[Tensor], Tensor]) -> StepInputs:
    """Return inputs with each of their tensors changed."""
    return replace(
        inputs,
        weights=change(inputs.weights),
        gradient=change(inputs.gradient),
        state=tuple(None if each is None else change(each) for each in inputs.state),
        after={name: change(value) for name, value in inputs.after.items()},
    )


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_number(each) for each in value)
    return value.item() if isinstance(value, Tensor) else value


def _by_coordinate(values: Tensor, batch: ParameterBatch) -> Tensor:
    """Return what is kept of each place or each weight as it is for each weight."""
    on_host = _on_host(values)
    return on_host if len(on_host) == batch.coordinates else on_host[batch.owners]


def _counts(snapshot: Snapshot) -> Sequence[float]:
    counts = snapshot.counts
    return counts.tolist() if isinstance(counts, Tensor) else counts


def _is_finite(inputs: StepInputs, batch: ParameterBatch) -> Tensor | None:
    """Return which weights have only finite numbers; none where the rule must see them whole. None if all."""
    given = [inputs.weights, inputs.gradient, *(each for each in inputs.state if each is not None)]
    if math.isfinite(sum(float(numbers.sum()) for numbers in given)):
        return None
    each = torch.stack([numbers.isfinite() for numbers in given]).all(0)
    return each if batch.extent == "weight" or each.all() else torch.zeros_like(each)


def _on_host(numbers: Tensor) -> Tensor:
    """Return numbers as float64, which not every accelerator has, in the host's memory."""
    return numbers.cpu().double()
