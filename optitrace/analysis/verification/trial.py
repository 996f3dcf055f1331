"""The trial: a custom class, and the arguments under which it is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product
from types import NoneType
from typing import Any, Literal, TypeAlias, get_args, get_origin

import torch
from torch import Tensor

from optitrace.errors import UsageError
from optitrace.experiment.user_class import UserClass
from optitrace.experiment.user_module import reason
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.discriminating_cases import VECTOR
from optitrace.rules.hyperparameter import Hyperparameter, show
from optitrace.tracing.prescribed_run import PrescribedRun, Shape, as_group, as_module, as_optimizer

STEPS = 30
"""The number of steps of a run."""

LR = 0.1
"""The learning rate; a default of 1 would hide what it multiplies."""

LR_FACTOR = 0.95
"""What the lr is multiplied by between two steps, as some hyperparameters act only where it moves."""

SHAPES: tuple[tuple[Shape, ...], ...] = ((VECTOR, (2, 3)), ((2, 3), (3, 2)), (VECTOR,), ((2, 3),))
"""The weights that a class is given: the first of these that it accepts."""

WIDER: tuple[Shape, ...] = ((16, 8), (8,), (4, 3, 3, 3))
"""Weights for what acts on none of those: on matrices that are not small, and on convolutions."""

SUMMATION = 1e-4
"""How far apart weights may be, relative to the largest, where sums are taken in different orders.

Classes that compute in float64 may sum a norm in float32.
"""

SYMMETRY = 1e-6
"""How far apart weights may be, relative to the largest, where signs are turned.

A sign changes no rounding, but the decomposition of a matrix may find other vectors, and may be in float32.
"""

ROUNDINGS = 64
"""How many machine epsilons, of the largest weight, weights may be apart where nothing else differs."""

NUMBERS = (0.1, 0.5, 0.9, 1.0, 2.0, 1e-3, 0.0, 10.0, 0.99)
WHOLE_NUMBERS = (1, 2, 3, 5, 10, 0)
"""Values of a hyperparameter that are tried, the most telling first."""

Arguments: TypeAlias = Mapping[str, Any]

NEEDS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "a closure": {"has_loss": True},
    "parameter groups with use_muon": {"given_as": as_group},
    "a gradient that can be differentiated": {"has_graph": True},
    "a module": {"given_as": as_module},
    "an optimizer to wrap": {"given_as": as_optimizer},
}
"""What a class may need to take a step, and the options of a run that give it."""


@dataclass(frozen=True, slots=True)
class After:
    """The weights and the state after a step.

    Attributes:
        weights: every tensor of weights.
        state: every number in the state of each of them, by name.
    """

    weights: Sequence[Tensor]
    state: Sequence[Mapping[str, Tensor]]

    def is_same(self, other: After) -> bool:
        """Return whether weights and state are the same bit for bit."""
        return all(map(same, self.weights, other.weights)) and all(map(_same_state, self.state, other.state))


@dataclass(frozen=True, slots=True)
class Trial:
    """A class and the ways in which it can be run.

    Attributes:
        user_class: the class.
        arguments: its keyword arguments; the others have the class's defaults.
        shapes: the shapes of its weights.
        dtypes: of the weights; the last is the one that it computes in.
        variations: arguments that replace these: none, and then each thing that is off by default, on, and
            each number that is on, off.
        options: of every `PrescribedRun`, unless a run has its own.
        need: what the class needs to take a step, one of `NEEDS`.
    """

    user_class: UserClass
    arguments: Arguments
    shapes: tuple[Shape, ...]
    dtypes: tuple[torch.dtype, ...] = (torch.float64,)
    variations: tuple[Arguments, ...] = ({},)
    options: Mapping[str, Any] = field(default_factory=dict)
    need: str = ""

    def has(self, name: str) -> bool:
        """Return whether the class has a hyperparameter."""
        return any(h.name == name for h in self.user_class.hyperparameters)

    def value(self, name: str) -> Any:
        """Return the value of a hyperparameter where it is not varied."""
        [hyperparameter] = [h for h in self.user_class.hyperparameters if h.name == name]
        return self.arguments.get(name, hyperparameter.default)

    def prescribed_run(self, arguments: Arguments, **how: Any) -> PrescribedRun:
        """Return a run of the class before its first step, with `arguments` replacing those of the trial."""
        merged = {**self.arguments, **arguments}
        options = {"dtype": self.dtypes[-1], "lr_factor": LR_FACTOR, **self.options, **how}
        return PrescribedRun(self.user_class.optimizer_class, merged, self.shapes, **options)

    def run(self, arguments: Arguments, *, factor: float = 1.0, **how: Any) -> list[After]:
        """Return weights and state after each step on the gradients times `factor`."""
        run = self.prescribed_run(arguments, **how)
        path = []
        for _ in range(STEPS):
            run.step(factor)
            path.append(After(run.snapshot(), [run.state(index) for index in range(len(run.weights))]))
        return path

    def attempt(self, arguments: Arguments, **how: Any) -> list[After] | None:
        """Return the run with these arguments; None if the class refuses them."""
        try:
            return self.run(arguments, **how)
        except Exception:  # a custom class can raise anything
            return None

    def others(self) -> list[Trial]:
        """Return the trials in which something may count that does not here, if the class accepts them.

        They have larger weights and gradients of one sign, or equal gradients in each step and a loss, or few
        digits.
        """
        wider = replace(self, shapes=WIDER, options={**self.options, "change": torch.abs})
        trials = (
            wider,
            replace(wider, options={**self.options, "change": torch.ones_like, "has_loss": True}),
            replace(self, dtypes=(torch.bfloat16,)),
        )
        return [trial for trial in trials if trial.attempt({})]


def prepare(user_class: UserClass, given: Arguments) -> Trial:
    """Return the trial of a class.

    Raises:
        UsageError: the class cannot be called, or cannot take a step.
    """
    user_class.check(given)
    # one whose default is None may be refused beside what finds the step size in its place
    finds = {
        h.name for h in user_class.hyperparameters if h.default is None and h.name not in user_class.required
    }
    lr = {h.name: LR for h in user_class.hyperparameters if h.name == "lr" and h.name not in finds}
    refusals = []
    for (need, options), dtype, shapes in product(NEEDS.items(), (torch.float64, torch.float32), SHAPES):
        trial = Trial(user_class, {**lr, **given}, shapes, (dtype,), options=options, need=need)
        try:
            run = trial.run({})
        except Exception as error:  # a custom class can raise anything
            refusals.append(error)
        else:
            # a class that was given what it does not know may do nothing instead of refusing it
            if not need or _moves(trial, run):
                trial = replace(trial, dtypes=_dtypes(trial, run))
                return replace(trial, variations=tuple(_variations(trial)))
    raise UsageError(f"{user_class.name} cannot take a step: {reason(refusals[0])}.")


def first_difference(one: Sequence[After], other: Sequence[After]) -> int | None:
    """Return the first step, from 1, after which two runs are not the same bit for bit; None if they are."""
    pairs = enumerate(zip(one, other, strict=True), start=1)
    return next((step for step, (ours, theirs) in pairs if not ours.is_same(theirs)), None)


def apart(
    one: Sequence[After], other: Sequence[After], allowed: float, *, is_mirrored: bool = False
) -> int | None:
    """Return the first step, from 1, after which the weights of two runs differ; None if they never do.

    Args:
        one: a run.
        other: another run.
        allowed: how far the weights may be apart, relative to the largest.
        is_mirrored: whether the weights of the other run have the opposite sign.
    """
    sign = -1 if is_mirrored else 1
    for step, (ours, theirs) in enumerate(zip(one, other, strict=True), start=1):
        pairs = zip(ours.weights, theirs.weights, strict=True)
        if not all(close(a, sign * b, allowed) for a, b in pairs):
            return step
    return None


def same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same numbers; NaN is the same as NaN."""
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def close(a: Tensor, b: Tensor, allowed: float | None = None) -> bool:
    """Return whether two tensors of weights hold the same numbers, but for rounding.

    Args:
        a: weights.
        b: weights of the same shape.
        allowed: how far they may be apart, relative to the largest; `ROUNDINGS` if not given.
    """
    if same(a, b):
        return True
    allowed = ROUNDINGS * torch.finfo(a.dtype).eps if allowed is None else allowed
    finite = torch.cat([a.flatten(), b.flatten()]).nan_to_num(0.0, 0.0, 0.0)
    return torch.allclose(a, b, rtol=0.0, atol=allowed * float(finite.abs().max()), equal_nan=True)


def said(variation: Arguments) -> str:
    """Return the arguments under which something was found, to end a clause; empty for the defaults."""
    return f" with {settings_of(variation)}" if variation else ""


def settings_of(variation: Arguments) -> str:
    """Return arguments as they are typed."""
    return ", ".join(f"{name}={show(value)}" for name, value in variation.items())


def alternatives(hyperparameter: Hyperparameter, value: Any) -> dict[str, Mapping[str, Any]]:
    """Return other values of a hyperparameter, by the part of it that they change and by how they are shown.

    >>> adam = Hyperparameter("adam", "betas", (0.9, 0.999), tuple[float, float])
    >>> betas = alternatives(adam, (0.9, 0.999))
    >>> list(betas), betas["betas[1]"]["0.5"]
    (['betas[0]', 'betas[1]'], (0.9, 0.5))
    """
    if isinstance(value, tuple):
        return {
            f"{hyperparameter.name}[{i}]": {
                show(other): (*value[:i], other, *value[i + 1 :]) for other in _others(part, float, ())
            }
            for i, part in enumerate(value)
        }
    others = _others(value, hyperparameter.type, _words(hyperparameter))
    return {hyperparameter.name: {show(other): other for other in others}}


def switched(hyperparameter: Hyperparameter, value: Any) -> list[list[Any]]:
    """Return values that switch something on, or off where it is on; of each list one is enough.

    A number is switched off by 0, and a count is also set to 1, as what happens every hundred steps is not
    seen in thirty. An lr is not switched off, as nothing moves without one.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and value != 0:
        off = [] if hyperparameter.name == "lr" else [[type(value)(0)]]
        return [*off, [1]] if isinstance(value, int) and value > 1 else off
    if value is None or isinstance(value, bool | int | float):
        return [list(_others(value, hyperparameter.type, _words(hyperparameter)))]
    return []


def _moves(trial: Trial, run: Sequence[After]) -> bool:
    start = trial.prescribed_run({}).snapshot()
    return any(not all(map(same, start, after.weights)) for after in run)


def _same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())


def _dtypes(trial: Trial, run: Sequence[After]) -> tuple[torch.dtype, ...]:
    """Return the dtypes of weights to run with.

    A class computes in float32 if the weights after a step do not have a digit from beyond float32's, neither
    of the weights before it nor of the gradient.
    """
    rounded = trial.prescribed_run({}, change=lambda tensor: tensor.to(torch.float32).to(tensor.dtype))
    rounded.step()
    ignores = all(map(same, run[0].weights, rounded.snapshot()))
    return (torch.float32,) if ignores else (torch.float32, torch.float64)


def _variations(trial: Trial) -> Iterator[Arguments]:
    """Yield no change, each thing that is off switched on, and each number that is on switched off."""
    yield {}
    for hyperparameter in trial.user_class.hyperparameters:
        name = hyperparameter.name
        # a class that has no lr by default finds its step size itself
        finds_its_lr = name == "lr" and hyperparameter.default is None
        for values in [[None]] if finds_its_lr else switched(hyperparameter, trial.value(name)):
            choices: Iterator[Arguments] = ({name: value} for value in values)
            if variation := next(filter(trial.attempt, choices), None):
                yield variation


def _words(hyperparameter: Hyperparameter) -> tuple[str, ...]:
    """Return the words that a hyperparameter can be: its own, or those of its namesake in the catalogue."""
    if words := _literals(hyperparameter.type):
        return words
    takes_text = any(member is str for member in (hyperparameter.type, *get_args(hyperparameter.type)))
    if not takes_text and hyperparameter.default is not None:
        return ()
    known = chain.from_iterable(optimizer.hyperparameters for optimizer in OPTIMIZERS.values())
    namesakes = (_literals(other.type) for other in known if other.name == hyperparameter.name)
    return next(filter(None, namesakes), ())


def _literals(kind: Any) -> tuple[str, ...]:
    literals = [member for member in (kind, *get_args(kind)) if get_origin(member) is Literal]
    return tuple(word for literal in literals for word in get_args(literal))


def _others(value: Any, kind: Any, words: tuple[str, ...]) -> Iterator[Any]:
    """Yield values other than `value`, of its kind."""
    if isinstance(value, bool):
        yield not value
    elif words:
        yield from (word for word in words if word != value)
        if value is not None and NoneType in get_args(kind):
            yield None
    elif value is None:
        yield from _numbers_of(kind)
    elif isinstance(value, int):
        yield from _unequal(value, chain((value + 1, 2 * value), WHOLE_NUMBERS, NUMBERS))
    elif isinstance(value, float):
        yield from _unequal(value, chain((2 * value, value / 2), NUMBERS))


def _numbers_of(kind: Any) -> Iterator[Any]:
    """Yield a value of each type that may stand where there is none."""
    members = get_args(kind)
    yield from (value for value in (0.1, 2.0, 1, 10, True) if type(value) in members)
    yield from ((0.9,) * len(get_args(member)) for member in members if get_origin(member) is tuple)


def _unequal(value: float, others: Iterator[float]) -> Iterator[float]:
    return (other for other in dict.fromkeys(others) if other != value)
