"""What rounding alone can make of a step: how far the rule's own results go if what it is given is rounded.

Numbers that cancel, such as a gradient and the weight decay, leave less than either had: one rounding of
them is then more than one of what is left, and no implementation could be more exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.training.rule_watch.part import Part, computed
from optitrace.analysis.verification.quantities import WEIGHTS
from optitrace.rules.extent import called
from optitrace.rules.rule import Rule
from optitrace.tracing.watching.description import dtype_name


@dataclass(frozen=True, slots=True)
class Rounding:
    """How far one rounding of what a rule is given moves its results.

    Attributes:
        units: by the name of the quantity, shape (coordinates,).
        note: completes the sentence "agree only to ..."; empty if nothing need be said.
    """

    units: Mapping[str, Tensor]
    note: str = ""


def roundings(rule: Rule, part: Part, expected: Mapping[str, Any]) -> Iterator[Rounding]:
    """Yield what can be rounded, the finest first.

    Args:
        rule: the rule.
        part: what it was given.
        expected: what it made of that.
    """
    moved = _moved(rule, part, expected, _tensors_rounded(rule, part))
    yield Rounding(moved)
    if part.is_capturable or any(entry.scalar for entry in rule.state):
        dtype = torch.get_default_dtype()
        scalars = _moved(rule, part, expected, _scalars_rounded(rule, part, torch.finfo(dtype).eps))
        together = {name: moved[name] + scalars[name] for name in moved}
        yield Rounding(together, f"{dtype_name(dtype)}, in which torch computes some scalars")
    if "bfloat16" in called(rule):
        eps = torch.finfo(torch.bfloat16).eps
        step = (torch.as_tensor(expected[WEIGHTS]) - part.weights).abs().max()
        coarse = _moved(rule, part, expected, [replace(part, gradient=_rounded(part.gradient, eps))])
        units = {WEIGHTS: (step * eps + coarse[WEIGHTS]).expand_as(part.weights)}
        yield Rounding(moved | units, "bfloat16, in which the direction of a step is computed")


def _moved(rule: Rule, part: Part, expected: Mapping[str, Any], rounded: Sequence[Part]) -> dict[str, Tensor]:
    """Return how far the results go, all roundings together; the furthest of all if they are of a whole."""
    moved: dict[str, Tensor] = defaultdict(lambda: torch.zeros(1, dtype=torch.float64))
    for changed in rounded:
        for name, value in computed(rule, changed).items():
            if value is not None:
                difference = torch.as_tensor(value, dtype=torch.float64) - expected[name]
                moved[name] = moved[name] + difference.abs().nan_to_num()
    if part.extent == "weight":
        return dict(moved)
    return {name: each.max().expand_as(each) for name, each in moved.items()}


def _tensors_rounded(rule: Rule, part: Part) -> list[Part]:
    """Return a part with the weights rounded, one with the gradient, one with each entry of the state."""
    eps = torch.finfo(part.dtypes[WEIGHTS]).eps
    rounded = [
        replace(part, weights=_rounded(part.weights, eps)),
        replace(part, gradient=_rounded(part.gradient, eps)),
    ]
    for k, (entry, value) in enumerate(zip(rule.state, part.state, strict=True)):
        if value is not None and not entry.scalar:
            dtype = part.dtypes.get(entry.key, part.dtypes[WEIGHTS])
            rounded.append(_with_state(part, k, _rounded(value, torch.finfo(dtype).eps)))
    return rounded


def _rounded(numbers: Tensor, eps: float) -> Tensor:
    """Return numbers of which some are a little larger and some a little smaller, always the same ones.

    All of them larger would be nothing to a rule that asks for the direction of a gradient alone.
    """
    generator = torch.Generator().manual_seed(0)
    up = torch.randint(2, numbers.shape, generator=generator, dtype=torch.float64)
    return numbers * (1 + eps * (2 * up - 1))


def _scalars_rounded(rule: Rule, part: Part, eps: float) -> list[Part]:
    """Return a part with each hyperparameter that is a number rounded up, and each scalar of the state."""
    rounded = []
    for name, value in part.settings.items():
        numbers = value if isinstance(value, tuple) else (value,)
        for k, number in enumerate(numbers):
            if isinstance(number, float) and number:
                changed = (*numbers[:k], number * (1 + eps), *numbers[k + 1 :])
                setting = changed if isinstance(value, tuple) else changed[0]
                rounded.append(replace(part, settings={**part.settings, name: setting}))
    for k, (entry, value) in enumerate(zip(rule.state, part.state, strict=True)):
        if value is not None and entry.scalar:
            rounded.append(_with_state(part, k, value * (1 + eps)))
    return rounded


def _with_state(part: Part, k: int, value: Tensor) -> Part:
    return replace(part, state=(*part.state[:k], value, *part.state[k + 1 :]))
