"""What the size of the gradient is to the size of a step, by the rule of an optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
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

MOST_BEFORE = 300
"""How many steps a rule takes, at most, before a gradient that is far larger."""

MOST_AFTER = 2000
"""How many it takes after that, at most, to see how long it remembers it."""

TWICE = 2.0
"""From what ratio on steps are of another length."""

FITTED_STEPS = 80
"""How many steps are taken to see on what their length depends; the latter half counts."""

GROWTH = 0.03
"""By how much the gradients grow in a step, in their logarithm, so that a maximum of them does, too."""

LATE = 10**7
"""The number of the first of them, at which no bias is corrected any more."""

FIT = 0.02
"""How far a length may be from the product of powers, in its logarithm."""

OVER = 0.05
"""How near to 1 that ratio is where the rule has forgotten."""


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


def group_lengths(optimizer: OptimizerTrace) -> list[float]:
    """Return how long the first step of each parameter group is, on one gradient and without weight decay.

    The rule is evaluated with the settings that each group had at the first step.

    Returns:
        The lengths, in no unit but that of each other; none if the optimizer's class has no rule.
    """
    sized = _sized(optimizer)
    if sized is None:
        return []
    gradient = number(optimizer, "gradient_norm", 0) if optimizer.steps else 1.0
    usual = gradient / sized.root if 0 < gradient < math.inf else 1.0
    settings = [
        {p.name: group[p.name] for p in sized.rule.parameters if p.name in group}
        for group in optimizer.hyperparameters
    ]
    lengths = [_first_length(replace(sized, settings=each), usual, 1) for each in settings]
    return lengths if all(map(math.isfinite, lengths)) else []


def step_exponents(optimizer: OptimizerTrace) -> Mapping[str, float]:
    """Return the powers of the norms of gradient and state whose product is the length of a step.

    The rule is evaluated on gradients of many sizes, in float64 and without weight decay, so late that no
    bias is corrected any more; the powers are fitted to the logarithms. Adam has 1 of ``exp_avg`` and -0.5 of
    ``exp_avg_sq``, the norms being those after the step.

    Returns:
        The powers by the names of the entries, and ``gradient``; empty if the lengths are no such product, or
        the optimizer's class has no rule.
    """
    sized = _sized(optimizer)
    if sized is None:
        return {}
    import torch

    decay = {p.name for p in sized.rule.parameters} & {"weight_decay"}
    settings = {**sized.settings, **dict.fromkeys(decay, 0.0)}
    run = _Run(replace(sized, settings=settings), sized.root)
    random = Random(0)
    rows: list[list[float]] = []
    for k in range(FITTED_STEPS):
        size = math.exp(GROWTH * k + random.uniform(-1, 1))
        length = run.step(LATE + k, size / abs(run.relative(LATE + k)))
        rows.append(
            [length, size, *(float(x.norm()) if isinstance(x, torch.Tensor) else 0.0 for x in run.state)]
        )
    numbers = torch.tensor(rows[FITTED_STEPS // 2 :], dtype=torch.float64)
    names = ["gradient", *(entry.key for entry in sized.rule.state)]
    if not bool((numbers[:, 0] > 0).all()):
        return {}
    logs = numbers.log() - numbers.log().mean(0)
    kept = [k for k in range(len(names)) if FIT < float(logs[:, k + 1].abs().max()) < math.inf]
    causes = logs[:, [k + 1 for k in kept]]
    fitted = torch.linalg.lstsq(causes, logs[:, :1], driver="gelsd").solution
    if float((causes @ fitted - logs[:, :1]).abs().max()) > FIT:
        return {}
    powers = {names[k]: round(float(power), 2) for k, power in zip(kept, fitted[:, 0], strict=True)}
    return {name: power for name, power in powers.items() if abs(power) > FIT}


@dataclass(frozen=True, slots=True)
class Memory:
    """How long an optimizer remembers one large gradient.

    Attributes:
        entry: the entry of the state that does, by torch's name.
        is_shorter: whether steps are less than half as long by it; if not, they are more than twice as long.
        steps: after how many steps that is over.
        is_over: whether it is after so many steps; if not, these are all that were evaluated.
    """

    entry: str
    is_shorter: bool
    steps: int
    is_over: bool


def memory_of(optimizer: OptimizerTrace, before: int, usual: float, spike: float) -> Memory | None:
    """Return how long an optimizer's steps are of another length after a far larger gradient than usual.

    Its rule is evaluated twice in float64, with that gradient and without. Which entry of the state is the
    cause is found by putting into the one state what the other has.

    Args:
        optimizer: its rule is evaluated with its own settings.
        before: how many steps come before the gradient.
        usual: the norm of the gradients before and after.
        spike: that of the large one.

    Returns:
        The memory; None if no step after it is half or twice as long, or the optimizer's class has no rule.
    """
    sized = _sized(optimizer)
    if sized is None or not sized.rule.state:
        return None
    runs = [_Run(sized, usual), _Run(sized, usual)]
    for t in range(1, min(before, MOST_BEFORE) + 1):
        for run in runs:
            run.step(t)
    start = t + 1
    runs[0].step(start)
    runs[1].step(start, spike / usual)
    far: list[tuple[int, float, list[Any], list[Any]]] = []
    for t in range(start + 1, start + 1 + MOST_AFTER, len(COURSE)):
        states = [list(run.state) for run in runs]
        lengths = [sum(run.step(each) for each in range(t, t + len(COURSE))) for run in runs]
        ratio = lengths[1] / lengths[0] if lengths[0] else math.nan
        if not math.isfinite(ratio):
            return None
        if not 1 / TWICE < ratio < TWICE:
            far.append((t, ratio, states[0], states[1]))
        elif abs(ratio - 1) < OVER:
            break
    if not far:
        return None
    last, ratio, *_ = far[-1]
    is_shorter = ratio < 1
    t, _, without, state = [each for each in far if (each[1] < 1) == is_shorter][-1]
    departures = [runs[1].departure(t, state, without, k) for k in range(len(state))]
    if min(departures) == math.inf:
        return None
    entry = departures.index(min(departures))
    steps = last - start + len(COURSE) - 1
    return Memory(sized.rule.state[entry].key, is_shorter, steps, steps < MOST_AFTER)


def lagging_entry(optimizer: OptimizerTrace, before: int, usual: float, spike: float) -> str:
    """Return the entry of the state by which a first large gradient makes a longer step than later ones do.

    Args:
        optimizer: its rule is evaluated with its own settings.
        before: how many steps come before the gradient.
        usual: the norm of the gradients before.
        spike: that of the large one, and of all after it.

    Returns:
        Torch's name of the entry; empty if no entry makes the step as long, or the class has no rule.
    """
    sized = _sized(optimizer)
    if sized is None or not sized.rule.state:
        return ""
    run, adapted = _Run(sized, usual), _Run(sized, spike)
    for t in range(1, min(before, MOST_BEFORE) + 1):
        run.step(t)
        adapted.step(t)
    state, other = list(run.state), list(adapted.state)
    lengths = [adapted.length(t + 1, [*state[:k], other[k], *state[k + 1 :]]) for k in range(len(state))]
    shortest = min(range(len(state)), key=lengths.__getitem__)
    return sized.rule.state[shortest].key if TWICE * lengths[shortest] < adapted.length(t + 1, state) else ""


class _Run:
    """A rule on gradients of one norm, step after step.

    Attributes:
        state: the state after the last step.
    """

    def __init__(self, sized: _Sized, norm: float) -> None:
        import torch

        self._sized, self._norm = sized, norm / sized.root
        self._course: list[float] = _unit(torch.tensor(COURSE, dtype=torch.float64)).tolist()
        self._weights, self._direction, self.state = sized.begin()

    def step(self, t: int, times: float = 1.0) -> float:
        """Take a step with a gradient that is so many times as large; return its length."""
        new, *state = self._stepped(t, self.state, times)
        length = float((new - self._weights).norm())
        self._weights, self.state = new, state
        return length

    def relative(self, t: int) -> float:
        """Return what the norm of the gradients is multiplied by in a step, with its sign."""
        return self._course[t % len(self._course)]

    def length(self, t: int, state: list[Any]) -> float:
        """Return the length of a step from another state, which is not taken."""
        new, *_ = self._stepped(t, state, 1.0)
        return float((new - self._weights).norm())

    def departure(self, t: int, state: list[Any], without: list[Any], entry: int) -> float:
        """Return how far a step is from that of another state if one entry is put in from that."""
        if state[entry] is None:
            return math.inf
        mixed = [*state[:entry], without[entry], *state[entry + 1 :]]
        lengths = self.length(t, mixed), self.length(t, without)
        return abs(math.log(lengths[0] / lengths[1])) if all(lengths) else math.inf

    def _stepped(self, t: int, state: list[Any], times: float) -> tuple[Any, ...]:
        gradient = times * self._norm * self.relative(t) * self._direction
        return self._sized.rule(self._weights, gradient, t, *state, **self._sized.settings)


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
