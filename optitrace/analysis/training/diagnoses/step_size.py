"""What the size of the gradient is to the size of a step, by the rule of an optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
    sized = _sized(optimizer)
    if sized is None:
        return None
    lengths = [_length(sized, norm / sized.root) for norm in (gradient, other)]
    return lengths[0] / lengths[1] if lengths[1] and all(map(math.isfinite, lengths)) else None


def late_growth(optimizer: OptimizerTrace, number: int, gradient: float) -> float | None:
    """Return how many times as long the first step from the initial state is if it is counted as a later one.

    Args:
        optimizer: its rule is evaluated with its own settings, in float64.
        number: the number that the step is counted as.
        gradient: the norm of its gradient.

    Returns:
        The ratio to the step counted as 1, exactly 1 where the rule does not ask for the number; None if the
        optimizer's class has no rule.
    """
    sized = _sized(optimizer)
    if sized is None:
        return None
    lengths = [_first_length(sized, gradient / sized.root, each) for each in (number, 1)]
    return lengths[0] / lengths[1] if lengths[1] and all(map(math.isfinite, lengths)) else None


@dataclass(frozen=True, slots=True)
class _Sized:
    """A rule, its settings, and the size of the weights that it moves.

    Attributes:
        rule: the rule.
        settings: its hyperparameters.
        weight: the root mean square of the weights.
        root: the square root of the number of the weights that have gradients.
    """

    rule: Rule
    settings: Mapping[str, Any]
    weight: float
    root: float

    def begin(self) -> tuple[Tensor, Tensor, list[Any]]:
        """Return weights, a direction of the gradient whose root mean square is 1, and the initial state."""
        import torch

        shape = (2, 2) if extent(self.rule) == "matrix" else (len(DIRECTION),)
        direction = _unit(torch.tensor(DIRECTION, dtype=torch.float64)).reshape(shape)
        defaults = {p.name: p.default for p in self.rule.parameters}
        initial = self.rule.initial_state({**defaults, **self.settings})
        state = [None if x is None else torch.full(shape, float(x)).double() for x in initial]
        return self.weight * direction.flip(0), direction, state


def _sized(optimizer: OptimizerTrace) -> _Sized | None:
    rule = rule_of_class(optimizer.class_path)
    if rule is None:
        return None
    moved = [p for p in optimizer.parameters if p.had_gradient and not p.is_frozen] or optimizer.parameters
    root = math.sqrt(max(1, sum(math.prod(p.shape) for p in moved)))
    whole = math.sqrt(max(1, sum(math.prod(p.shape) for p in optimizer.parameters)))
    norms = [number(optimizer, "weight_norm", row) for row in spread(optimizer)]
    weight = median([norm for norm in norms if math.isfinite(norm)] or [whole]) / whole
    return _Sized(rule, _settings(rule, optimizer), weight, root)


def _settings(rule: Rule, optimizer: OptimizerTrace) -> Mapping[str, Any]:
    """Return the settings of the first group, with the largest lr that the training had."""
    given = optimizer.hyperparameters[0]
    settings = {p.name: given[p.name] for p in rule.parameters if p.name in given}
    return {**settings, "lr": largest_lr(optimizer) or settings.get("lr", 0.0)}


def _length(sized: _Sized, gradient: float) -> float:
    """Return how long steps are, on average, with gradients of a root mean square."""
    import torch

    course = _unit(torch.tensor(COURSE, dtype=torch.float64)).tolist()
    weights, direction, state = sized.begin()
    total = 0.0
    for t in range(1, STEPS + 1):
        used = gradient * course[t % len(course)] * direction
        new: Any
        new, *state = sized.rule(weights, used, t, *state, **sized.settings)
        if t > STEPS // 2:
            total += float((new - weights).norm())
    return total


def _first_length(sized: _Sized, gradient: float, t: int) -> float:
    """Return how long the first step is, counted as step `t`, without weight decay."""
    weights, direction, state = sized.begin()
    settings = {**sized.settings, **dict.fromkeys({"weight_decay"} & sized.settings.keys(), 0.0)}
    new: Any
    new, *_ = sized.rule(weights, gradient * direction, t, *state, **settings)
    return float((new - weights).norm())


def _unit(numbers: Tensor) -> Tensor:
    """Return numbers whose root mean square is 1."""
    return numbers / numbers.square().mean().sqrt()
