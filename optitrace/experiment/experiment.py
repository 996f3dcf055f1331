"""The experiment: the frozen settings of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optitrace.errors import one_of
from optitrace.experiment import checks
from optitrace.experiment.checks import DEFAULT_COORDINATE, DTYPES
from optitrace.experiment.objective import Objective, Point, Quadratic
from optitrace.experiment.objectives import choose_objective
from optitrace.experiment.own_class import entry_of
from optitrace.experiment.schedule import Schedule, parse_schedule
from optitrace.experiment.target import Target
from optitrace.rules.catalogue import OPTIMIZERS, find
from optitrace.rules.hyperparameter import Value
from optitrace.rules.optimizer import Optimizer

GRADIENTS: Mapping[str, str] = {
    "fresh": "cleared and computed anew before each step, as in training",
    "stale": "computed once, at the start, and used for every step",
    "accumulated": "computed before each step and never cleared, the forgotten zero_grad",
}
"""The gradient protocols, and what each does."""


def used_gradient(protocol: str, step: int, used: Any, gradient: Callable[[Any], Any], w: Any) -> Any:
    """Return the gradient that a step uses.

    Args:
        protocol: ``fresh``, ``stale`` or ``accumulated``.
        step: its number, from 1.
        used: what the step before used; zeros before step 1.
        gradient: the gradient of weights; asked for only where it is needed.
        w: the weights before the step.
    """
    if protocol == "fresh":
        return gradient(w)
    if protocol == "accumulated" or step == 1:
        return used + gradient(w)
    return used


@dataclass(frozen=True, slots=True)
class Experiment:
    """All that decides a run, and nothing else.

    Attributes:
        optimizer: the optimizer's name, in lower case.
        hyperparameters: every effective one, by torch's name.
        objective: the loss.
        start: the weights before step 1, one for each coordinate.
        steps: how many steps are taken; 0 shows just the start.
        gradient: the gradient protocol, a key of `GRADIENTS`.
        dtype: the dtype of the weights, one of `DTYPES`.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        implementation: how torch computes the step: ``single``, ``foreach`` or ``fused``.
        noise: the standard deviation of the Gaussian noise that is added to each gradient.
        seed: of the noise.
        clip_norm: the largest Euclidean norm of a gradient that is used; None for any.
        clip_value: the largest absolute value of a coordinate of it; None for any.
        schedule: how lr moves; None if it stays.
        until: what the run stops at before its last step; None if at nothing.
        own: what is known of an optimizer that is not in the catalogue.
    """

    optimizer: str
    hyperparameters: Mapping[str, Value]
    objective: Objective = field(default_factory=Quadratic)
    start: Point = (DEFAULT_COORDINATE, DEFAULT_COORDINATE)
    steps: int = 10
    gradient: str = "fresh"
    dtype: str = "float32"
    device: str = "cpu"
    implementation: str = "single"
    noise: float = 0.0
    seed: int = 0
    clip_norm: float | None = None
    clip_value: float | None = None
    schedule: Schedule | None = None
    until: Target | None = None
    own: Optimizer | None = field(default=None, compare=False, repr=False)

    @property
    def entry(self) -> Optimizer:
        """The optimizer's entry in the catalogue, or what stands for it."""
        return self.own or find(self.optimizer)


def design(
    optimizer: str | Optimizer,
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    objective: Objective | str | None = None,
    coefficients: Sequence[float] | None = None,
    dimension: int | None = None,
    condition: float | None = None,
    rotate: int | None = None,
    start: Sequence[float] | None = None,
    steps: int = 10,
    gradient: str = "fresh",
    dtype: str = "float32",
    device: str = "cpu",
    implementation: str = "auto",
    noise: float = 0.0,
    seed: int = 0,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    schedule: str | None = None,
    until: str | None = None,
) -> Experiment:
    """Return the experiment of these settings, every default filled in and every value checked.

    Args:
        optimizer: a name of the catalogue, in any letter case; a class of one's own, such as
            ``mine.py:Lion``; or what is known of an optimizer.
        hyperparameters: those that are not to have their default.
        objective: the loss, as a value, a name, an expression such as ``w1**2 + sin(w2)``, or a function
            such as ``mine.py:loss``; the quadratic if not given.
        coefficients: the quadratic's, one for each weight; 1 and 2 if not given.
        dimension: the number of weights of a quadratic without coefficients, or of a function.
        condition: the condition number of a quadratic without coefficients.
        rotate: the seed of a rotation that turns the quadratic off the axes.
        start: the weights before step 1; if not given, the objective's usual start, or 0.5 each.
        steps: how many steps to take.
        gradient: a key of `GRADIENTS`.
        dtype: one of `DTYPES`.
        device: ``cpu``, ``cuda`` or ``cuda:N``. Whether it is there is seen when it is used.
        implementation: ``single``, ``foreach``, ``fused``; ``auto`` is torch's own choice, which is
            foreach on CUDA where there is one, and else single.
        noise: the standard deviation of Gaussian noise on each gradient.
        seed: of the noise.
        clip_norm: the largest Euclidean norm of a gradient that is used.
        clip_value: the largest absolute value of a coordinate of it.
        schedule: a scheduler of torch, such as ``StepLR:step_size=10``.
        until: what to stop at, such as ``loss<1e-6``.

    Raises:
        UsageError: a name is not known, or a value or a combination of them cannot be run.
    """
    entry = entry_of(optimizer) if isinstance(optimizer, str) else optimizer
    one_of("dtype", dtype, DTYPES)
    loss = objective
    if loss is None or isinstance(loss, str):
        coordinates = len(start) if isinstance(start, Sequence) else None
        coefficients = checks.coefficients(coefficients, dtype)
        loss = choose_objective(loss, coefficients, dimension, condition, rotate, coordinates)
    return Experiment(
        optimizer=entry.name,
        hyperparameters=entry.settings(hyperparameters or {}),
        objective=loss,
        start=checks.start(loss, start, dtype),
        steps=checks.steps(steps),
        gradient=checks.gradient_protocol(entry, gradient, GRADIENTS),
        dtype=dtype,
        device=checks.device(device),
        implementation=checks.implementation(entry, implementation, device),
        noise=checks.amount("the noise", noise),
        seed=checks.seed(seed),
        clip_norm=None if clip_norm is None else checks.amount("the largest gradient norm", clip_norm),
        clip_value=None if clip_value is None else checks.amount("the largest gradient value", clip_value),
        schedule=None if schedule is None else parse_schedule(schedule),
        until=None if until is None else checks.target(until, loss),
        own=None if entry.name in OPTIMIZERS else entry,
    )
