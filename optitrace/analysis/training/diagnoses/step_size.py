"""What the size of the gradient is to the size of a step, by the rule of an optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

from optitrace.analysis.training.diagnoses.rows import largest_lr, number, spread
from optitrace.records.training import OptimizerTrace
from optitrace.rules.catalogue import rule_of_class
from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import extent

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 40
"""How many steps a rule takes; the latter half is measured, when the state has left its initial value."""

DIRECTION = (1.0, -0.5, 0.75, -1.25)
"""A gradient, but for its size: coordinates that differ, so that no two are alike."""

COURSE = (1.0, 0.6, -0.3, 1.2, 0.8)
"""By what it is multiplied in one step after another: it changes size and sign, as a real one does."""


def step_growth(optimizer: OptimizerTrace, gradient: float, other: float) -> float | None:
    """Return how many times as long an optimizer's steps are with gradients of one norm as with another.

    Its rule is evaluated with both from its initial state, in float64 and with its own settings, on weights
    and gradients of the size that those of the training have.

    Returns:
        The ratio of the lengths of the steps; None if the optimizer's class has no rule.
    """
    rule = rule_of_class(optimizer.class_path)
    if rule is None:
        return None
    moved = [p for p in optimizer.parameters if p.had_gradient and not p.is_frozen] or optimizer.parameters
    root = math.sqrt(max(1, sum(math.prod(p.shape) for p in moved)))
    whole = math.sqrt(max(1, sum(math.prod(p.shape) for p in optimizer.parameters)))
    norms = [number(optimizer, "weight_norm", row) for row in spread(optimizer)]
    weight = median([norm for norm in norms if math.isfinite(norm)] or [whole]) / whole
    settings = _settings(rule, optimizer)
    lengths = [_length(rule, settings, weight, norm / root) for norm in (gradient, other)]
    return lengths[0] / lengths[1] if lengths[1] and all(map(math.isfinite, lengths)) else None


def _settings(rule: Rule, optimizer: OptimizerTrace) -> Mapping[str, Any]:
    """Return the settings of the first group, with the largest lr that the training had."""
    given = optimizer.hyperparameters[0]
    settings = {p.name: given[p.name] for p in rule.parameters if p.name in given}
    return {**settings, "lr": largest_lr(optimizer) or settings.get("lr", 0.0)}


def _length(rule: Rule, settings: Mapping[str, Any], weight: float, gradient: float) -> float:
    """Return how long steps are, on average.

    Args:
        rule: the rule.
        settings: its hyperparameters.
        weight: the root mean square of the weights.
        gradient: that of the gradient.
    """
    import torch

    shape = (2, 2) if extent(rule) == "matrix" else (len(DIRECTION),)
    direction = _unit(torch.tensor(DIRECTION, dtype=torch.float64)).reshape(shape)
    course = _unit(torch.tensor(COURSE, dtype=torch.float64)).tolist()
    defaults = {p.name: p.default for p in rule.parameters}
    initial = rule.initial_state({**defaults, **settings})
    state: list[Any] = [None if x is None else torch.full(shape, float(x)).double() for x in initial]
    weights = weight * direction.flip(0)
    total = 0.0
    for t in range(1, STEPS + 1):
        used = gradient * course[t % len(course)] * direction
        new: Any
        new, *state = rule(weights, used, t, *state, **settings)
        if t > STEPS // 2:
            total += float((new - weights).norm())
    return total


def _unit(numbers: Tensor) -> Tensor:
    """Return numbers whose root mean square is 1."""
    return numbers / numbers.square().mean().sqrt()
