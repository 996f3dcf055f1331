"""The experiment: the frozen settings of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

from optitrace.errors import LARGEST_SEED, amount, integer, one_of
from optitrace.experiment import settings
from optitrace.experiment.objective import Objective, Point, Quadratic
from optitrace.experiment.objectives import choose_objective
from optitrace.experiment.settings import DEFAULT_COORDINATE, DTYPES, Schedule, Target, parse_schedule
from optitrace.experiment.user_class import entry_of
from optitrace.rules.catalogue import OPTIMIZERS, find
from optitrace.rules.hyperparameter import Value
from optitrace.rules.optimizer import Optimizer

GRADIENTS: Mapping[str, str] = {
    "fresh": "cleared and computed anew before each step, as in training",
    "stale": "computed once, at the start, and used for every step",
    "accumulated": "computed before each step and never cleared, as when zero_grad() is forgotten",
}
"""The gradient protocols, and what each does."""


def used_gradient(protocol: str, step: int, used: Any, gradient: Callable[[Any], Any], w: Any) -> Any:
    """Return the gradient that a step uses.

    Args:
        protocol: ``fresh``, ``stale`` or ``accumulated``.
        step: the step number, from 1.
        used: the gradient that the previous step used; zeros before step 1.
        gradient: returns the gradient of weights; called only if needed.
        w: the weights before the step.
    """
    if protocol == "fresh":
        return gradient(w)
    if protocol == "accumulated" or step == 1:
        return used + gradient(w)
    return used


@dataclass(frozen=True, slots=True)
class Experiment:
    """The settings that determine a run.

    Attributes:
        optimizer: the optimizer's name, in lower case.
        hyperparameters: every effective value, by torch's name.
        objective: the loss.
        start: the weights before step 1, one for each coordinate.
        steps: the number of steps; 0 shows just the start.
        gradient: the gradient protocol, a key of `GRADIENTS`.
        dtype: the dtype of the weights, one of `DTYPES`.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        implementation: how torch computes the step: ``single``, ``foreach`` or ``fused``.
        noise: the standard deviation of the Gaussian noise that is added to each gradient.
        seed: the seed of the noise.
        clip_norm: the Euclidean norm that gradients are clipped to; None for no clipping.
        clip_value: the absolute value that each coordinate is clipped to; None for no clipping.
        schedule: the schedule of lr; None if it is constant.
        until: the target at which the run stops early; None if there is none.
        custom: the entry of an optimizer that is not in the catalogue.
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
    custom: Optimizer | None = field(default=None, compare=False, repr=False)

    @property
    def entry(self) -> Optimizer:
        """The optimizer's entry in the catalogue, or that of a custom optimizer."""
        return self.custom or find(self.optimizer)


class Settings(TypedDict, total=False):
    """The settings of a run other than the optimizer and its hyperparameters, as passed by a caller."""

    objective: Objective | str | None
    """The loss, as a value, a name, an expression such as ``w1**2 + sin(w2)``, or a function such as
    ``mine.py:loss``; the quadratic if not given."""
    coefficients: Sequence[float] | None
    """The quadratic's, one for each weight; 1 and 2 if not given."""
    dimension: int | None
    """The number of weights of a quadratic without coefficients, or of a function."""
    condition: float | None
    """The condition number of a quadratic without coefficients."""
    rotate: int | None
    """The seed of a random rotation of the quadratic."""
    start: Sequence[float] | None
    """The weights before step 1; if not given, the objective's usual start, or 0.5 each."""
    steps: int
    """How many steps to take; 10 if not given."""
    gradient: str
    """A key of `GRADIENTS`; ``fresh`` if not given."""
    dtype: str
    """One of `DTYPES`; ``float32`` if not given."""
    device: str
    """``cpu``, ``cuda`` or ``cuda:N``. Whether it exists is checked when it is used."""
    implementation: str
    """``single``, ``foreach``, ``fused``; if not given ``auto``, which is torch's own choice: foreach on CUDA
    where there is one, and else single."""
    noise: float
    """The standard deviation of Gaussian noise on each gradient."""
    seed: int
    """The seed of the noise."""
    clip_norm: float | None
    """The Euclidean norm that gradients are clipped to."""
    clip_value: float | None
    """The absolute value that each coordinate of a gradient is clipped to."""
    schedule: str | None
    """A scheduler of torch, such as ``StepLR:step_size=10``."""
    until: str | None
    """The target at which to stop early, such as ``loss<1e-6``."""


def design(
    optimizer: str | Optimizer,
    hyperparameters: Mapping[str, Any] | None = None,
    **given: Unpack[Settings],
) -> Experiment:
    """Return the experiment of these settings, every default filled in and every value checked.

    Args:
        optimizer: a name of the catalogue, in any letter case; a custom class, such as ``mine.py:Lion``; or
            what is known of an optimizer.
        hyperparameters: those without their default value.
        **given: the settings of `Settings`.

    Raises:
        UsageError: a name is not known, or a value or a combination of them cannot be run.
        TypeError: there is no such setting.
    """
    if unknown := given.keys() - Settings.__annotations__.keys():
        raise TypeError(f"design() got an unexpected keyword argument {min(unknown)!r}")
    entry = entry_of(optimizer) if isinstance(optimizer, str) else optimizer
    dtype = one_of("dtype", given.get("dtype", "float32"), DTYPES)
    device = given.get("device", "cpu")
    loss = _objective(given, dtype)
    norm, value = given.get("clip_norm"), given.get("clip_value")
    schedule, until = given.get("schedule"), given.get("until")
    return Experiment(
        optimizer=entry.name,
        hyperparameters=entry.settings(hyperparameters or {}),
        objective=loss,
        start=settings.start(loss, given.get("start"), dtype),
        steps=integer("steps", given.get("steps", 10)),
        gradient=settings.gradient_protocol(entry, given.get("gradient", "fresh"), GRADIENTS),
        dtype=dtype,
        device=settings.device(device),
        implementation=settings.implementation(entry, given.get("implementation", "auto"), device),
        noise=amount("the noise", given.get("noise", 0.0)),
        seed=integer("seed", given.get("seed", 0), most=LARGEST_SEED),
        clip_norm=None if norm is None else amount("the largest gradient norm", norm),
        clip_value=None if value is None else amount("the largest gradient value", value),
        schedule=None if schedule is None else parse_schedule(schedule),
        until=None if until is None else settings.target(until, loss),
        custom=None if entry.name in OPTIMIZERS else entry,
    )


def _objective(given: Settings, dtype: str) -> Objective:
    objective, start = given.get("objective"), given.get("start")
    if objective is not None and not isinstance(objective, str):
        return objective
    return choose_objective(
        objective,
        settings.coefficients(given.get("coefficients"), dtype),
        given.get("dimension"),
        given.get("condition"),
        given.get("rotate"),
        len(start) if isinstance(start, Sequence) else None,
    )
