"""The trial: a class of one's own, and the arguments under which it is tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.verification.conformance.alternatives import switched_on
from optitrace.errors import UsageError
from optitrace.experiment.own_class import OwnClass
from optitrace.experiment.own_module import reason
from optitrace.rules.hyperparameter import show
from optitrace.rules.telling import VECTOR
from optitrace.tracing.bench import Bench, Shape

STEPS = 30
"""How many steps a trial takes."""

LR = 0.1
"""The learning rate of a trial; a default of 1 would hide what it multiplies."""

SHAPES: tuple[tuple[Shape, ...], ...] = ((VECTOR, (2, 3)), (VECTOR,), ((2, 3),))
"""The weights that a class is given: the first of these that it takes."""

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
        """Tell whether weights and state are the same bit for bit."""
        return all(map(same, self.weights, other.weights)) and all(map(_same_state, self.state, other.state))


@dataclass(frozen=True, slots=True)
class Trial:
    """A class and the ways in which it can be run.

    Attributes:
        own: the class.
        arguments: what it is called with; what is not here has the class's default.
        shapes: the shapes of its weights.
        variations: what is put over these: nothing, and then each thing that is off by default, on.
    """

    own: OwnClass
    arguments: Arguments
    shapes: tuple[Shape, ...]
    variations: tuple[Arguments, ...] = ({},)

    def has(self, name: str) -> bool:
        """Tell whether the class has a hyperparameter."""
        return any(h.name == name for h in self.own.hyperparameters)

    def bench(self, arguments: Arguments, *, dtype: torch.dtype = torch.float64, **how: Any) -> Bench:
        """Return the class with `arguments` put over those of the trial, on its bench."""
        merged = {**self.arguments, **arguments}
        return Bench(self.own.optimizer_class, merged, self.shapes, dtype=dtype, **how)

    def run(self, arguments: Arguments, *, factor: float = 1.0, **how: Any) -> list[After]:
        """Return what there is after each step on the gradients times `factor`."""
        bench = self.bench(arguments, **how)
        path = []
        for _ in range(STEPS):
            bench.step(factor)
            path.append(after(bench))
        return path

    def attempt(self, arguments: Arguments) -> list[After] | None:
        """Return the run with these arguments; None if the class refuses them."""
        try:
            return self.run(arguments)
        except Exception:  # a class of anyone's can raise anything
            return None


def prepare(own: OwnClass, given: Arguments) -> Trial:
    """Return the trial of a class.

    Raises:
        UsageError: the class cannot be called, or cannot take a step.
    """
    arguments = _arguments(own, given)
    refusals = []
    for shapes in SHAPES:
        trial = Trial(own, arguments, shapes)
        try:
            trial.run({})
        except Exception as error:  # a class of anyone's can raise anything
            refusals.append(error)
        else:
            return replace(trial, variations=tuple(_variations(trial)))
    raise UsageError(f"{own.name} cannot take a step: {reason(refusals[0])}.")


def after(bench: Bench) -> After:
    """Return what there is on a bench now."""
    return After(bench.snapshot(), [bench.state(index) for index in range(len(bench.weights))])


def differ(one: Sequence[After], other: Sequence[After]) -> int | None:
    """Return the first step, from 1, after which two runs are not the same bit for bit; None if they are."""
    pairs = enumerate(zip(one, other, strict=True), start=1)
    return next((step for step, (ours, theirs) in pairs if not ours.is_same(theirs)), None)


def same(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors hold the same numbers; what is not a number is the same as itself."""
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def _same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())


def said(variation: Arguments) -> str:
    """Return under which arguments something was found, to end a clause; empty for the defaults."""
    settings = ", ".join(f"{name}={show(value)}" for name, value in variation.items())
    return f" with {settings}" if settings else ""


def _arguments(own: OwnClass, given: Arguments) -> dict[str, Any]:
    own.check(given)
    lr = {h.name: LR for h in own.hyperparameters if h.name == "lr"}
    return {**lr, **given}


def _variations(trial: Trial) -> Iterator[Arguments]:
    """Yield no change, and each thing that is off switched on."""
    yield {}
    for hyperparameter in trial.own.hyperparameters:
        value = trial.arguments.get(hyperparameter.name, hyperparameter.default)
        choices: Iterator[Arguments] = (
            {hyperparameter.name: on} for on in switched_on(hyperparameter, value)
        )
        if variation := next(filter(trial.attempt, choices), None):
            yield variation
