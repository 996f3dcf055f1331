"""What each term of an update rule does in the dtype of the weights: inspected steps, taken without it.

The terms are the hyperparameters of the rule that a 0, or False, turns off: weight decay, eps, momentum,
amsgrad. The optimizer's own step is replayed on a sample of the weights, once as it is, which must give what
the program's step has given, and once without each term. A term that has acted is not looked at again, so
that a sound training is soon left alone.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.experiment.float_formats import dtype_name
from optitrace.monitoring.backward_tracker import FOUND_INF, from_scaler
from optitrace.monitoring.parameters import ParameterSet, groups_of, shown_name
from optitrace.monitoring.tensor_values import local
from optitrace.monitoring.update_rule import match_rule
from optitrace.monitoring.weight_sample import SamplePlace, choose, values
from optitrace.records.training import StuckState, Tally, TermEffect, one_more
from optitrace.rules.rule import Rule, without
from optitrace.rules.source_patching import extent
from optitrace.tracing.step_replay import ReplayInput, ReplayOutput, copied, is_replayable, replay

MOST = 4096
"""How many weights of an optimizer are looked at; of a small model all."""

NEARLY_ALL = 0.9
"""The share of a parameter's moving weights from which on a term dominates it."""

ROUNDINGS = 8.0
"""By how many machine epsilons a replayed weight may be off: parts of tensors may be computed otherwise."""

SHORT = (torch.bfloat16, torch.float16)
"""The dtypes in which a running mean may be unable to fall."""

UNIFORM = 1e-6
"""How far the shares that numbers lose in a step may lie apart if all lose the same."""


class TermEffectTracker:
    """Follows what the terms of an optimizer's rule do; of what cannot be replayed, nothing is known."""

    def __init__(self, optimizer: Optimizer, members: ParameterSet) -> None:
        """Begin before the first step; the optimizer is not kept alive by this."""
        self._optimizer = weakref.ref(optimizer)
        self._members = members
        self._is_over = False
        self._sample: _Sample | None = None
        self._parts: list[_Part] = []
        self._groups: list[Mapping[str, Any]] = []
        self._effects: dict[tuple[str, int, str], _Effect] = {}
        self._memories: dict[tuple[str, str], _Memory] = {}

    @property
    def effects(self) -> tuple[TermEffect, ...]:
        """What each term did, by parameter group and dtype."""
        return tuple(effect.record(*key) for key, effect in self._effects.items())

    @property
    def stuck(self) -> tuple[StuckState, ...]:
        """The entries of the state that could not fall."""
        return tuple(
            StuckState(entry, dtype, memory.fall, memory.stuck, memory.looked)
            for (entry, dtype), memory in self._memories.items()
            if memory.stuck is not None
        )

    def before_step(self, *, is_inspected: bool) -> None:
        """Keep the weights and the state that an inspected step begins with."""
        self._parts = []
        if is_inspected:
            self._attempt(self._keep_parts)

    def during_step(self) -> None:
        """Keep the gradient that a step uses, and the settings as they are now."""
        if self._parts:
            self._attempt(self._keep_gradients)

    def after_step(self, step: int) -> None:
        """Take the step again without each term, and count what that changes."""
        if self._parts:
            self._attempt(lambda optimizer: self._look(step, optimizer))
            self._parts = []

    def _attempt(self, look: Callable[[Optimizer], None]) -> None:
        """Look at an optimizer, with which a program may do anything; once that fails, look no more."""
        optimizer = self._optimizer()
        if self._is_over or optimizer is None:
            return
        try:
            with torch.no_grad():
                look(optimizer)
        except Exception:
            self._is_over, self._parts = True, []

    def _keep_parts(self, optimizer: Optimizer) -> None:
        if self._sample is None:
            rule = match_rule(optimizer).rule
            is_sparse = rule is not None and rule.torch is not None and rule.torch.needs == "sparse gradient"
            if rule is None or is_sparse or not is_replayable(optimizer):
                self._is_over = True
                return
            self._sample = _Sample(rule, optimizer)
        if not self._open_terms(optimizer) and not self._is_memory_open():
            return
        self._parts = [
            _Part(
                place,
                group,
                weights=_taken_from(parameter, place),
                state={
                    key: _taken_from(value, place) if _is_of_weights(value, place) else copied(value)
                    for key, value in (optimizer.state.get(parameter) or {}).items()
                },
            )
            for place, group, parameter in self._sample.places
        ]

    def _open_terms(self, optimizer: Optimizer) -> list[str]:
        """Return the terms that are on and have not been seen to act as one of several."""
        assert self._sample is not None
        is_open: dict[str, bool] = {}
        for (term, _, _), effect in self._effects.items():
            is_open[term] = is_open.get(term, False) or not effect.is_settled
        return [
            term
            for term in self._sample.rule.terms
            if is_open.get(term, True) and any(group.get(term) for group in optimizer.param_groups)
        ]

    def _is_memory_open(self) -> bool:
        """Return whether it is still to be seen that the state can fall."""
        assert self._sample is not None
        is_short = any(parameter.dtype in SHORT for _, _, parameter in self._sample.places)
        memories = self._memories.values()
        return is_short and not (memories and all(m.stuck is None for m in memories))

    def _keep_gradients(self, optimizer: Optimizer) -> None:
        assert self._sample is not None
        self._groups = [
            {name: copied(value) for name, value in group.items() if name != "params"}
            for group in optimizer.param_groups
        ]
        for part, (place, _, parameter) in zip(self._parts, self._sample.places, strict=True):
            gradient = parameter.grad
            if gradient is not None and gradient.layout is torch.strided:
                part.gradient = _taken_from(gradient, place)

    def _look(self, step: int, optimizer: Optimizer) -> None:
        found_inf = from_scaler(optimizer, FOUND_INF)
        parts = [part for part in self._parts if part.gradient is not None]
        if not parts or (found_inf is not None and bool(found_inf)):
            return
        inputs = [part.input for part in parts]
        made = replay(optimizer, inputs, self._groups)
        parameters = self._members.parameters
        after = [_taken_from(parameters[part.place.parameter], part.place) for part in parts]
        if not all(map(_is_same_step, inputs, made, after)):
            return
        for term in self._open_terms(optimizer):
            groups = [without(group, term) for group in self._groups]
            with suppress(Exception):  # the step cannot be taken without it
                self._count(step, term, parts, made, replay(optimizer, inputs, groups))
        if self._is_memory_open():
            self._look_at_memory(step, optimizer, inputs)

    def _count(
        self,
        step: int,
        term: str,
        parts: Sequence[_Part],
        made: Sequence[ReplayOutput],
        reduced: Sequence[ReplayOutput],
    ) -> None:
        """Count what a term has changed in a step, in each group and dtype.

        Args:
            step: the number of the step.
            term: the term.
            parts: the weights.
            made: what the step makes of each part.
            reduced: what it makes without the term.
        """
        assert self._sample is not None
        shared = [entry.key for entry in self._sample.rule.state if entry.when != term]
        batches: dict[tuple[int, str], list[int]] = {}
        for k, part in enumerate(parts):
            batches.setdefault((part.group, dtype_name(part.weights.dtype)), []).append(k)
        for (group, dtype), members in batches.items():
            settings = self._groups[group]
            value, lr = float(settings.get(term) or 0), float(settings.get("lr", 1.0))
            has_weights = any(bool(parts[k].weights.any()) for k in members)
            has_gradient = any(bool(parts[k].input.gradient.any()) for k in members)
            if not (value and lr and has_weights and has_gradient):
                continue
            counts = {
                self._members.names[parts[k].place.parameter]: _counts(
                    parts[k].weights, made[k], reduced[k], shared
                )
                for k in members
            }
            effect = self._effects.setdefault((term, group, dtype), _Effect(self._sample.is_whole))
            effect.add(step, value, lr, counts)

    def _look_at_memory(self, step: int, optimizer: Optimizer, inputs: Sequence[ReplayInput]) -> None:
        """See whether the state falls in a step on weights and gradients of zero, as it does in float64."""
        resting = [
            replace(each, weights=torch.zeros_like(each.weights), gradient=torch.zeros_like(each.gradient))
            for each in inputs
        ]
        in_float64 = replay(optimizer, [_in_float64(each) for each in resting], self._groups)
        in_dtype = replay(optimizer, resting, self._groups)
        for key, (before, made, exact) in _kept_numbers(resting, in_dtype, in_float64).items():
            left = exact / before
            if not len(left) or left.max() - left.min() > UNIFORM or not 0 < left.mean() < 1 - UNIFORM:
                continue  # it is no running mean
            memory = self._memories.setdefault(key, _Memory())
            memory.add(step, 1 - float(left.mean()), is_stuck=bool((made.abs() >= before.abs()).all()))


class _Sample:
    """The weights that are looked at.

    Attributes:
        rule: of the optimizer.
        places: each with its parameter group and its parameter.
        is_whole: whether these are all that the optimizer moves.
    """

    def __init__(self, rule: Rule, optimizer: Optimizer) -> None:
        groups = groups_of(optimizer)
        places = choose(groups, extent(rule), MOST)
        self.rule = rule
        members = [(number, p) for number, group in enumerate(groups) for p in group]
        self.places = [(place, *members[place.parameter]) for place in places]
        self.is_whole = sum(place.count for place in places) == sum(local(p).numel() for _, p in members)


@dataclass(slots=True, eq=False)
class _Part:
    """Some weights of one parameter in a step.

    Attributes:
        place: which.
        group: the number of the parameter group.
        weights: before the step, shape (count,), or the parameter's if these are all.
        state: before the step; of tensors of the parameter's shape, the numbers of these weights.
        gradient: used by the step; None if there is none, or it is sparse.
    """

    place: SamplePlace
    group: int
    weights: Tensor
    state: Mapping[str, Any]
    gradient: Tensor | None = None

    @property
    def input(self) -> ReplayInput:
        """What a replayed step is given."""
        assert self.gradient is not None
        return ReplayInput(self.group, self.weights, self.gradient, self.state)


@dataclass(slots=True)
class _Counts:
    """How many weights of a parameter a term has changed in a step; see `TermEffect`."""

    weights: int
    changed: int
    remembered: int
    moving: int
    halved: int


@dataclass(slots=True)
class _Effect:
    """The effect of a term so far."""

    is_whole: bool
    value: float = 0.0
    lr: float = 0.0
    steps: Tally | None = None
    idle: Tally | None = None
    weights: int = 0
    changed: int = 0
    moving: int = 0
    halved: int = 0
    moved: Counter[str] = field(default_factory=Counter)
    dominated: Counter[str] = field(default_factory=Counter)

    @property
    def is_settled(self) -> bool:
        """Whether the term has acted, and not on its own."""
        return self.idle != self.steps and not self._dominated_always()

    def add(self, step: int, value: float, lr: float, counts: Mapping[str, _Counts]) -> None:
        """Add what the term did in a step to the weights of some parameters."""
        each = counts.values()
        if abs(value * lr) >= abs(self.value * self.lr):
            self.value, self.lr = value, lr
        self.steps = one_more(self.steps, step)
        if not any(count.changed or count.remembered for count in each):
            self.idle = one_more(self.idle, step)
        self.weights = max(self.weights, sum(count.weights for count in each))
        self.changed = max(self.changed, sum(count.changed for count in each))
        self.moving += sum(count.moving for count in each)
        self.halved += sum(count.halved for count in each)
        self.moved.update(name for name, count in counts.items() if count.moving)
        self.dominated.update(
            name
            for name, count in counts.items()
            if count.moving and count.halved >= NEARLY_ALL * count.moving
        )

    def record(self, term: str, group: int, dtype: str) -> TermEffect:
        """Return it as it is recorded."""
        assert self.steps is not None
        share = self.halved / self.moving if self.moving else 0.0
        return TermEffect(
            term,
            group,
            dtype,
            self.value,
            self.lr,
            self.steps,
            self.idle,
            self.weights,
            not self.is_whole,
            self.changed,
            share,
            self._dominated_always(),
        )

    def _dominated_always(self) -> tuple[str, ...]:
        return tuple(name for name, count in self.moved.items() if self.dominated[name] == count)


@dataclass(slots=True)
class _Memory:
    """Whether an entry of the state could fall, in the steps so far."""

    fall: float = 0.0
    stuck: Tally | None = None
    looked: int = 0

    def add(self, step: int, fall: float, *, is_stuck: bool) -> None:
        """Add a step in which each number is to lose a share."""
        self.looked += 1
        self.fall = max(self.fall, fall)
        if is_stuck:
            self.stuck = one_more(self.stuck, step)


def _taken_from(tensor: Tensor, place: SamplePlace) -> Tensor:
    """Return a copy of the numbers at a place, in the shape of the tensor if these are all."""
    numbers = values(local(tensor), place).clone()
    return numbers.reshape(place.shape) if place.is_whole else numbers


def _is_of_weights(value: Any, place: SamplePlace) -> bool:
    """Return whether an entry of the state has a number for each weight."""
    return isinstance(value, Tensor) and value.layout is torch.strided and local(value).shape == place.shape


def _is_same_step(given: ReplayInput, made: ReplayOutput, after: Tensor) -> bool:
    """Return whether a replayed step has made, to within rounding, what the program's step has."""
    size = torch.maximum(given.weights.abs(), after.abs())
    allowed = ROUNDINGS * torch.finfo(after.dtype).eps * size
    return bool(((made.weights == after) | ((made.weights - after).abs() <= allowed)).all())


def _counts(before: Tensor, made: ReplayOutput, reduced: ReplayOutput, entries: Sequence[str]) -> _Counts:
    """Return what a term has done to the weights of a parameter, and to entries of its state."""
    is_changed = _differ(made.weights, reduced.weights)
    is_remembered = torch.zeros_like(is_changed)
    for entry in entries:
        value, other = made.state.get(entry), reduced.state.get(entry)
        if isinstance(value, Tensor) and isinstance(other, Tensor):
            differ = _differ(value, other)
            is_remembered |= differ if differ.shape == is_changed.shape else differ.any()
    own, others = ((each.weights.double() - before.double()).abs() for each in (made, reduced))
    is_halved, is_moving = own < others / 2, others > 0  # neither is true of NaN
    numbers = torch.stack([each.sum() for each in (is_changed, is_remembered, is_moving, is_halved)])
    return _Counts(before.numel(), *map(int, numbers.tolist()))


def _differ(a: Tensor, b: Tensor) -> Tensor:
    return (a != b) & ~(a.isnan() & b.isnan())


def _kept_numbers(
    given: Sequence[ReplayInput], in_dtype: Sequence[ReplayOutput], in_float64: Sequence[ReplayOutput]
) -> dict[tuple[str, str], tuple[Tensor, Tensor, Tensor]]:
    """Return the normal numbers of each entry of the state in a short dtype, by its name and dtype.

    They are those before a step, after it, and after it in float64; all in float64, on the host.
    """
    found: dict[tuple[str, str], list[tuple[Tensor, ...]]] = {}
    for before, made, exact in zip(given, in_dtype, in_float64, strict=True):
        for entry, kept in before.state.items():
            if isinstance(kept, Tensor) and kept.dtype in SHORT and kept.shape == before.weights.shape:
                is_normal = kept.abs() >= torch.finfo(kept.dtype).tiny
                three = (kept, made.state[entry], exact.state[entry])
                numbers = tuple(each[is_normal].double().cpu() for each in three)
                found.setdefault((shown_name(entry), dtype_name(kept.dtype)), []).append(numbers)
    return {key: tuple(map(torch.cat, zip(*each, strict=True))) for key, each in found.items()}  # type: ignore[misc]


def _in_float64(given: ReplayInput) -> ReplayInput:
    """Return inputs whose weights, gradient and state of the weights' shape are in float64."""
    state = {
        key: value.double() if isinstance(value, Tensor) and value.shape == given.weights.shape else value
        for key, value in given.state.items()
    }
    return replace(given, weights=given.weights.double(), gradient=given.gradient.double(), state=state)
