"""What rounding alone can make of a step: how far the rule's own results go if what it is given is rounded.

Numbers that cancel, such as a gradient and the weight decay, leave less than either had: one rounding of
them is then more than one of what is left, and no implementation could be more exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.training.rule_watch.rule_inputs import RuleInputs, computed
from optitrace.analysis.verification.quantities import WEIGHTS
from optitrace.experiment.float_formats import dtype_name
from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import called


@dataclass(frozen=True, slots=True)
class Rounding:
    """How far one rounding of what a rule is given moves its results.

    Attributes:
        units: by the name of the quantity, shape (coordinates,).
        note: completes the sentence "agree only to ..."; empty if nothing need be said.
    """

    units: Mapping[str, Tensor]
    note: str = ""


def roundings(rule: Rule, part: RuleInputs, expected: Mapping[str, Any]) -> Iterator[Rounding]:
    """Yield what can be rounded, the finest first.

    Args:
        rule: the rule.
        part: what it was given.
        expected: what it made of that.
    """
    tensors = _sum(_slopes(rule, part, expected, changes) for changes in _of_tensors(rule, part))
    yield Rounding(tensors)
    if part.is_capturable or any(entry.scalar for entry in rule.state):
        dtype = torch.get_default_dtype()
        scalars = [_slopes(rule, part, expected, changes) for changes in _of_scalars(rule, part, dtype)]
        if part.is_capturable:
            scalars.append(_moved(rule, expected, _with_number_of(part, dtype)))
        yield Rounding(
            _sum([tensors, *scalars]), f"{dtype_name(dtype)}, in which torch computes some scalars"
        )
    if "bfloat16" in called(rule):
        eps = torch.finfo(torch.bfloat16).eps
        # its results come in steps, so that they have no slope
        coarse = _moved(rule, expected, _with_gradient(part, eps))[WEIGHTS]
        step = (torch.as_tensor(expected[WEIGHTS]) - part.weights).abs()
        units = (step.max() * eps + coarse.max()).expand_as(part.weights)
        yield Rounding(tensors | {WEIGHTS: units}, "bfloat16, in which the direction of a step is computed")
    if part.dtypes[WEIGHTS] is torch.float16:
        within = _moved(rule, expected, in_weights_dtype(part, torch.float16))
        yield Rounding(_sum([tensors, within]), "float16, whose smallest numbers some are below")


@dataclass(frozen=True, slots=True)
class _Change:
    """Something that a rule is given, made another by a factor of 1 + size.

    Attributes:
        eps: of the dtype that it is rounded to.
        changed: returns what the rule is given then.
    """

    eps: float
    changed: Callable[[float], RuleInputs]


def _slopes(rule: Rule, part: RuleInputs, expected: Mapping[str, Any], change: _Change) -> dict[str, Tensor]:
    """Return how far one rounding of something moves the results.

    A jump is no rounding: where half the change makes as much of a difference, it counts as none.
    """
    size = min(8 * change.eps, 2.0**-12)
    far, near = (_moved(rule, expected, change.changed(each)) for each in (size, size / 2))
    slopes = {
        name: torch.where(near[name] <= 0.75 * far[name], far[name], 0.0) * (change.eps / size)
        for name in far
    }
    if part.extent == "weight":
        return slopes
    return {name: each.max().expand_as(each) for name, each in slopes.items()}


def _moved(rule: Rule, expected: Mapping[str, Any], changed: RuleInputs) -> dict[str, Tensor]:
    """Return how far the results go if the rule is given something else."""
    new = {name: value for name, value in computed(rule, changed).items() if value is not None}
    return {
        name: (torch.as_tensor(value, dtype=torch.float64) - expected[name]).abs().nan_to_num()
        for name, value in new.items()
    }


def _sum(each: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    together: dict[str, Tensor] = {}
    for moved in each:
        for name, value in moved.items():
            together[name] = together[name] + value if name in together else value
    return together


def _of_tensors(rule: Rule, part: RuleInputs) -> Iterator[_Change]:
    """Yield the changes of the weights, of the gradient, and of each entry of the state."""
    eps = torch.finfo(part.dtypes[WEIGHTS]).eps
    yield _Change(eps, partial(_with_weights, part))
    yield _Change(eps, partial(_with_gradient, part))
    for k, entry in enumerate(rule.state):
        if part.state[k] is not None and not entry.scalar:
            dtype = part.dtypes.get(entry.key, part.dtypes[WEIGHTS])
            yield _Change(torch.finfo(dtype).eps, partial(_with_state, part, k))


def _rounded(numbers: Tensor, size: float) -> Tensor:
    """Return numbers of which some are a little larger and some a little smaller, always the same ones.

    All of them larger would be nothing to a rule that asks for the direction of a gradient alone.
    """
    generator = torch.Generator().manual_seed(0)
    up = torch.randint(2, numbers.shape, generator=generator, dtype=torch.float64)
    return numbers * (1 + size * (2 * up - 1))


def _of_scalars(rule: Rule, part: RuleInputs, dtype: torch.dtype) -> Iterator[_Change]:
    """Yield the changes of each hyperparameter that is a number, and of each scalar of the state."""
    eps = torch.finfo(dtype).eps
    for name, value in part.settings.items():
        for k, number in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(number, float) and number:
                yield _Change(eps, partial(_with_setting, part, name, k))
    for k, entry in enumerate(rule.state):
        if part.state[k] is not None and entry.scalar:
            yield _Change(eps, partial(_with_state, part, k))


def in_weights_dtype(part: RuleInputs, dtype: torch.dtype) -> RuleInputs:
    """Return a part whose numbers are of a dtype, so that each result of the rule is rounded to it."""
    state = tuple(None if each is None else each.to(dtype) for each in part.state)
    return replace(part, weights=part.weights.to(dtype), gradient=part.gradient.to(dtype), state=state)


def _with_number_of(part: RuleInputs, dtype: torch.dtype) -> RuleInputs:
    """Return a part whose step has its number as torch has it then: what comes of it, 1 - β2ᵗ, is rounded."""
    return replace(part, number=torch.tensor(float(part.number), dtype=dtype))


def _with_weights(part: RuleInputs, size: float) -> RuleInputs:
    return replace(part, weights=_rounded(part.weights, size))


def _with_gradient(part: RuleInputs, size: float) -> RuleInputs:
    return replace(part, gradient=_rounded(part.gradient, size))


def _with_setting(part: RuleInputs, name: str, k: int, size: float) -> RuleInputs:
    """Return a part in which a hyperparameter is another; the k-th number of it if it has several."""
    value = part.settings[name]
    numbers = list(value) if isinstance(value, tuple) else [value]
    numbers[k] *= 1 + size
    return replace(
        part,
        settings={**part.settings, name: tuple(numbers) if isinstance(value, tuple) else numbers[0]},
    )


def _with_state(part: RuleInputs, k: int, size: float) -> RuleInputs:
    """Return a part in which the k-th entry of the state is another."""
    value = part.state[k]
    assert value is not None
    return replace(part, state=(*part.state[:k], _rounded(value, size), *part.state[k + 1 :]))
