"""The experiment: the frozen settings of one run."""

from __future__ import annotations

import math
import re
import sys
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.experiment.objective import Quadratic
from optitrace.rules.catalogue import Optimizer, find
from optitrace.rules.hyperparameter import Value

GRADIENTS: Mapping[str, str] = {
    "fresh": "cleared and computed anew before each step, as in training",
    "stale": "computed once, at the start, and used for every step",
    "accumulated": "computed before each step and never cleared, the forgotten zero_grad",
}
"""The gradient protocols, and what each does."""

DTYPES: Mapping[str, float] = {
    "float32": (2 - 2**-23) * 2.0**127,
    "float64": sys.float_info.max,
    "bfloat16": (2 - 2**-7) * 2.0**127,
    "float16": (2 - 2**-10) * 2.0**15,
}
"""The dtypes that weights can have, and the largest number of each."""

DEFAULT_COORDINATE = 0.5
"""Where each weight starts, as in the documented experiment."""


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
    """

    optimizer: str
    hyperparameters: Mapping[str, Value]
    objective: Quadratic = field(default_factory=Quadratic)
    start: tuple[float, ...] = (DEFAULT_COORDINATE, DEFAULT_COORDINATE)
    steps: int = 10
    gradient: str = "fresh"
    dtype: str = "float32"
    device: str = "cpu"
    implementation: str = "single"

    @property
    def entry(self) -> Optimizer:
        """The optimizer's entry in the catalogue."""
        return find(self.optimizer)


def design(
    optimizer: str,
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    coefficients: Sequence[float] = (1.0, 2.0),
    start: Sequence[float] | None = None,
    steps: int = 10,
    gradient: str = "fresh",
    dtype: str = "float32",
    device: str = "cpu",
    implementation: str = "auto",
) -> Experiment:
    """Return the experiment of these settings, every default filled in and every value checked.

    Args:
        optimizer: a name of the catalogue, in any letter case.
        hyperparameters: those that are not to have their default.
        coefficients: the quadratic's, one for each weight.
        start: the weights before step 1; 0.5 each if not given.
        steps: how many steps to take.
        gradient: a key of `GRADIENTS`.
        dtype: one of `DTYPES`.
        device: ``cpu``, ``cuda`` or ``cuda:N``. Whether it is there is seen when it is used.
        implementation: ``single``, ``foreach``, ``fused``; ``auto`` is torch's own choice, which is
            foreach on CUDA where there is one, and else single.

    Raises:
        UsageError: a name is not known, or a value or a combination of them cannot be run.
    """
    entry = find(optimizer)
    _check_choice("gradient protocol", gradient, GRADIENTS)
    _check_choice("dtype", dtype, DTYPES)
    _check_device(device)
    objective = Quadratic(_numbers("the coefficients", coefficients))
    _check_range("a coefficient of the quadratic", objective.coefficients, dtype)
    weights = (
        (DEFAULT_COORDINATE,) * objective.dimension
        if start is None
        else _numbers("the coordinates of the start", start)
    )
    _check_start(weights, objective)
    _check_range("a coordinate of the start", weights, dtype)
    _check_steps(steps)
    if entry.needs == "closure" and gradient == "stale":
        raise UsageError(
            f"{entry.name} evaluates the loss and its gradient itself, several times in a step, "
            "so no step can use a stale gradient; use 'fresh' or 'accumulated'."
        )
    return Experiment(
        optimizer=entry.name,
        hyperparameters=entry.settings(hyperparameters or {}),
        objective=objective,
        start=weights,
        steps=steps,
        gradient=gradient,
        dtype=dtype,
        device=device,
        implementation=_implementation(entry, implementation, device),
    )


def _numbers(what: str, given: Sequence[float]) -> tuple[float, ...]:
    try:
        return tuple(array("d", given))
    except TypeError:
        raise UsageError(f"{what} must be numbers such as 0.5,0.5, not {given!r}.") from None
    except OverflowError:
        raise UsageError(f"{what} hold a whole number that is too large; no dtype holds it.") from None


def _check_choice(what: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        guess = did_you_mean(value, known) or ";"
        raise UsageError(f"unknown {what} {quoted(value)}{guess} there are {', '.join(known)}.")


def _check_device(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]{0,8}))?", device):
        raise UsageError(
            f"unknown device {quoted(device)}; there are cpu, cuda, cuda:N (such as cuda:1) and auto."
        )


def _check_start(start: Sequence[float], objective: Quadratic) -> None:
    if len(start) != objective.dimension:
        raise UsageError(
            f"the start has {len(start)} coordinates and the quadratic {objective.dimension} coefficients; "
            "give as many of one as of the other."
        )
    for coordinate in start:
        if not math.isfinite(coordinate):
            raise UsageError(f"a coordinate of the start is {coordinate}; all must be finite.")


def _check_range(what: str, values: Sequence[float], dtype: str) -> None:
    for value in values:
        if abs(value) > DTYPES[dtype]:
            raise UsageError(f"{what} is {value:g}; {dtype} holds numbers up to {DTYPES[dtype]:g}.")


def _check_steps(steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise UsageError(f"steps is {steps}; it must be a whole number from 0 on.")


def _implementation(entry: Optimizer, implementation: str, device: str) -> str:
    if implementation == "auto":
        on_cuda = device.startswith("cuda") and "foreach" in entry.implementations
        return "foreach" if on_cuda else "single"
    _check_choice("implementation", implementation, ("single", "foreach", "fused", "auto"))
    if implementation not in entry.implementations:
        raise UsageError(
            f"torch has no {implementation} implementation of {entry.name}; "
            f"it has {' and '.join(entry.implementations)}."
        )
    return implementation
