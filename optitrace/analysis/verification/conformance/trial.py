"""The trial: a class of one's own, and the arguments under which it is tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.verification.conformance.alternatives import switched
from optitrace.errors import UsageError
from optitrace.experiment.own_class import OwnClass
from optitrace.experiment.own_module import reason
from optitrace.rules.discriminating_cases import VECTOR
from optitrace.rules.hyperparameter import show
from optitrace.tracing.prescribed_run import PrescribedRun, Shape

STEPS = 30
"""How many steps a trial takes."""

LR = 0.1
"""The learning rate of a trial; a default of 1 would hide what it multiplies."""

LR_FACTOR = 0.95
"""What the lr is multiplied by between two steps, as some hyperparameters act only where it moves."""

SHAPES: tuple[tuple[Shape, ...], ...] = ((VECTOR, (2, 3)), ((2, 3), (3, 2)), (VECTOR,), ((2, 3),))
"""The weights that a class is given: the first of these that it takes."""

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

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class After:
    """What there is after a step.

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
        own: the class.
        arguments: what it is called with; what is not here has the class's default.
        shapes: the shapes of its weights.
        dtypes: of the weights that it is tried with; the last is the one that it computes in.
        variations: what is put over these: nothing, and then each thing that is off by default, on, and each
            number that is on, off.
        options: of every bench, unless a run has its own.
    """

    own: OwnClass
    arguments: Arguments
    shapes: tuple[Shape, ...]
    dtypes: tuple[torch.dtype, ...] = (torch.float64,)
    variations: tuple[Arguments, ...] = ({},)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the class computes in."""
        return self.dtypes[-1]

    def has(self, name: str) -> bool:
        """Return whether the class has a hyperparameter."""
        return any(h.name == name for h in self.own.hyperparameters)

    def value(self, name: str) -> Any:
        """Return what a hyperparameter is where it is not varied."""
        [hyperparameter] = [h for h in self.own.hyperparameters if h.name == name]
        return self.arguments.get(name, hyperparameter.default)

    def bench(self, arguments: Arguments, **how: Any) -> PrescribedRun:
        """Return the class with `arguments` put over those of the trial, on its bench."""
        merged = {**self.arguments, **arguments}
        options = {"dtype": self.dtype, "lr_factor": LR_FACTOR, **self.options, **how}
        return PrescribedRun(self.own.optimizer_class, merged, self.shapes, **options)

    def run(self, arguments: Arguments, *, factor: float = 1.0, **how: Any) -> list[After]:
        """Return what there is after each step on the gradients times `factor`."""
        bench = self.bench(arguments, **how)
        path = []
        for _ in range(STEPS):
            bench.step(factor)
            path.append(after(bench))
        return path

    def attempt(self, arguments: Arguments, **how: Any) -> list[After] | None:
        """Return the run with these arguments; None if the class refuses them."""
        try:
            return self.run(arguments, **how)
        except Exception:  # a class of anyone's can raise anything
            return None

    def others(self) -> list[Trial]:
        """Return the trials in which something may count that does not here, as far as the class takes them.

        They have larger weights and gradients of one sign, or equal gradients in each step and a loss, or few
        digits.
        """
        wider = replace(self, shapes=WIDER, options={"change": torch.abs})
        trials = (
            wider,
            replace(wider, options={"change": torch.ones_like, "has_loss": True}),
            replace(self, dtypes=(torch.bfloat16,)),
        )
        return [trial for trial in trials if trial.attempt({})]


def prepare(own: OwnClass, given: Arguments) -> Trial:
    """Return the trial of a class.

    Raises:
        UsageError: the class cannot be called, or cannot take a step.
    """
    arguments = _arguments(own, given)
    refusals = []
    for dtype in (torch.float64, torch.float32):
        for shapes in SHAPES:
            trial = Trial(own, arguments, shapes, (dtype,))
            try:
                run = trial.run({})
            except Exception as error:  # a class of anyone's can raise anything
                refusals.append(error)
            else:
                trial = replace(trial, dtypes=_dtypes(trial, run))
                return replace(trial, variations=tuple(_variations(trial)))
    raise UsageError(f"{own.name} cannot take a step: {reason(refusals[0])}.")


def after(bench: PrescribedRun) -> After:
    """Return what there is on a bench now."""
    return After(bench.snapshot(), [bench.state(index) for index in range(len(bench.weights))])


def differ(one: Sequence[After], other: Sequence[After]) -> int | None:
    """Return the first step, from 1, after which two runs are not the same bit for bit; None if they are."""
    pairs = enumerate(zip(one, other, strict=True), start=1)
    return next((step for step, (ours, theirs) in pairs if not ours.is_same(theirs)), None)


def apart(one: Iterable[Sequence[Tensor]], other: Iterable[Sequence[Tensor]], allowed: float) -> int | None:
    """Return the first step, from 1, after which the weights of two runs differ; None if they never do.

    Args:
        one: the weights after each step.
        other: the same of another run.
        allowed: how far they may be apart, relative to the largest.
    """
    pairs = enumerate(zip(one, other, strict=True), start=1)
    return next((step for step, (a, b) in pairs if not all(map(close, a, b, repeat(allowed)))), None)


def weights_of(path: Iterable[After]) -> Iterator[Sequence[Tensor]]:
    """Yield the weights after each step."""
    return (there.weights for there in path)


def same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same numbers; what is not a number is the same as itself."""
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


def _same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())


def said(variation: Arguments) -> str:
    """Return under which arguments something was found, to end a clause; empty for the defaults."""
    return f" with {settings_of(variation)}" if variation else ""


def settings_of(variation: Arguments) -> str:
    """Return arguments as they are typed."""
    return ", ".join(f"{name}={show(value)}" for name, value in variation.items())


def _arguments(own: OwnClass, given: Arguments) -> dict[str, Any]:
    own.check(given)
    lr = {h.name: LR for h in own.hyperparameters if h.name == "lr"}
    return {**lr, **given}


def _dtypes(trial: Trial, run: Sequence[After]) -> tuple[torch.dtype, ...]:
    """Return the dtypes of weights to be tried.

    A class computes in float32 if the weights after a step do not have a digit from beyond float32's, neither
    of the weights before it nor of the gradient.
    """
    rounded = trial.bench({}, change=lambda tensor: tensor.to(torch.float32).to(tensor.dtype))
    rounded.step()
    ignores = all(map(same, run[0].weights, rounded.snapshot()))
    return (torch.float32,) if ignores else (torch.float32, torch.float64)


def _variations(trial: Trial) -> Iterator[Arguments]:
    """Yield no change, each thing that is off switched on, and each number that is on switched off."""
    yield {}
    for hyperparameter in trial.own.hyperparameters:
        name = hyperparameter.name
        # a class that has no lr by default finds its step size itself
        finds_its_lr = name == "lr" and hyperparameter.default is None
        for values in [[None]] if finds_its_lr else switched(hyperparameter, trial.value(name)):
            choices: Iterator[Arguments] = ({name: value} for value in values)
            if variation := next(filter(trial.attempt, choices), None):
                yield variation
