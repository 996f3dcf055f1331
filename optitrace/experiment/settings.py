"""The settings of an experiment: schedules, targets, and the checks of all settings."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optitrace.errors import UsageError, did_you_mean, one_of, quoted
from optitrace.experiment.float_formats import FORMATS
from optitrace.experiment.objective import Objective, Point, Quadratic
from optitrace.rules.hyperparameter import show
from optitrace.rules.optimizer import Optimizer
from optitrace.text import listed

DTYPES: Mapping[str, float] = {name: form.largest for name, form in FORMATS.items()}
"""The dtypes that weights can have, and the largest number of each."""

DEFAULT_COORDINATE = 0.5
"""The start of each weight, as in the documented experiment."""

SCHEDULERS = (
    "ConstantLR",
    "LinearLR",
    "ExponentialLR",
    "StepLR",
    "MultiStepLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "PolynomialLR",
    "CyclicLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
)
"""The schedulers of torch.optim.lr_scheduler whose arguments are numbers and words."""

OF_OBJECTS = ("LambdaLR", "MultiplicativeLR", "ChainedScheduler", "SequentialLR")
"""The schedulers whose arguments are Python objects, which no text can name."""

_SEQUENCES = ("milestones",)
"""The arguments that torch takes as a sequence only: one number of them is a sequence of one."""

QUANTITIES = {
    "loss": "the loss",
    "gradient": "the Euclidean norm of the gradient",
    "distance": "the distance from the nearest known minimum",
}
"""The quantities that can be a target, and their meanings."""


def device(name: str) -> str:
    """Return the name of a device, which may or may not be there."""
    if not isinstance(name, str) or not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]{0,8}))?", name):
        raise UsageError(
            f"unknown device {quoted(str(name))}; choose from: cpu, cuda, cuda:N (such as cuda:1), auto."
        )
    return name


def coefficients(given: Sequence[float] | None, dtype: str) -> Point | None:
    """Return coefficients of a quadratic, which the dtype must hold."""
    if given is None:
        return None
    numbers = Quadratic(_numbers("the coefficients", given)).coefficients
    _check_range("a coefficient of the quadratic", numbers, dtype)
    return numbers


def start(objective: Objective, given: Sequence[float] | None, dtype: str) -> Point:
    """Return the start: the one that is given, the objective's usual one, or 0.5 in each coordinate."""
    if given is None:
        return objective.usual_start or (DEFAULT_COORDINATE,) * objective.dimension
    point = _numbers("the coordinates of the start", given)
    if len(point) != objective.dimension:
        what = "coefficients" if isinstance(objective, Quadratic) else "weights"
        raise UsageError(
            f"the start has {len(point)} coordinates and the {objective.name} {objective.dimension} {what}; "
            "give as many of one as of the other."
        )
    for coordinate in point:
        if not math.isfinite(coordinate):
            raise UsageError(f"a coordinate of the start is {coordinate}; all must be finite.")
    _check_range("a coordinate of the start", point, dtype)
    return point


def target(text: str, objective: Objective) -> Target:
    """Return the target of a text, which the objective must have."""
    wanted = parse_target(text)
    if wanted.quantity == "distance" and not objective.minima:
        raise UsageError(
            f"no minimum of the {objective.name} is known, so no distance from it; use loss or gradient."
        )
    return wanted


def implementation(entry: Optimizer, wanted: str, device_name: str) -> str:
    """Return how torch computes a step of an optimizer on a device: its own choice, or the one wanted."""
    if wanted == "auto":
        on_cuda = device_name.startswith("cuda") and "foreach" in entry.implementations
        return "foreach" if on_cuda else "single"
    one_of("implementation", wanted, ("single", "foreach", "fused", "auto"))
    if wanted not in entry.implementations:
        raise UsageError(
            f"torch has no {wanted} implementation of {entry.name}; it has {listed(entry.implementations)}."
        )
    return wanted


def gradient_protocol(entry: Optimizer, name: str, known: Collection[str]) -> str:
    """Return a gradient protocol that an optimizer can follow."""
    one_of("gradient protocol", name, known)
    if entry.needs == "closure" and name == "stale":
        raise UsageError(
            f"{entry.name} evaluates the loss and its gradient itself, several times in a step, "
            "so no step can use a stale gradient; use 'fresh' or 'accumulated'."
        )
    return name


@dataclass(frozen=True, slots=True)
class Schedule:
    """A scheduler and its arguments.

    Attributes:
        name: torch's name of the scheduler, one of `SCHEDULERS`.
        arguments: its arguments by name, but for the optimizer: numbers, switches, words, tuples.
    """

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        settings = ",".join(f"{key}={show(value).replace(',', ';')}" for key, value in self.arguments.items())
        return f"{self.name}:{settings}" if settings else self.name


def parse_schedule(text: str) -> Schedule:
    """Return the schedule of a text such as ``StepLR:step_size=10,gamma=0.5``.

    The name is taken in any letter case; numbers of a tuple are separated by semicolons. So may be the
    arguments, which stand so in the text of an experiment.

    >>> str(parse_schedule("multisteplr:milestones=3;6"))
    'MultiStepLR:milestones=3;6'

    Raises:
        UsageError: there is no such scheduler, or an argument is not ``key=value``.
    """
    given, _, rest = text.partition(":")
    names = {name.lower(): name for name in SCHEDULERS}
    name = names.get(given.strip().lower())
    if name is None:
        raise UsageError(_unknown(given.strip()))
    arguments = {}
    for part in filter(None, map(str.strip, re.split(r",|;(?=\s*\w+\s*=)", rest))):
        key, sign, value = part.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise UsageError(
                f"the schedule's '{part}' is not an argument; write key=value, as in StepLR:step_size=10."
            )
        if key.strip() in arguments:
            raise UsageError(f"the schedule gives {key.strip()} twice; give it once.")
        read = _value(value.strip())
        lone = key.strip() in _SEQUENCES and not isinstance(read, tuple)
        arguments[key.strip()] = (read,) if lone else read
    return Schedule(name, arguments)


@dataclass(frozen=True, slots=True)
class Target:
    """A quantity that is to fall below a limit.

    Attributes:
        quantity: one of `QUANTITIES`.
        limit: the number that it must fall below.
    """

    quantity: str
    limit: float

    def __str__(self) -> str:
        return f"{self.quantity}<{show(self.limit)}"


def parse_target(text: str) -> Target:
    """Return the target of a text such as ``loss<1e-6``.

    Raises:
        UsageError: there is no such quantity, or the limit is no number.
    """
    name, sign, limit = (part.strip() for part in text.partition("<"))
    if not sign:
        raise UsageError(f"the target '{text}' has no '<'; write it as loss<1e-6.")
    if name not in QUANTITIES:
        guess = did_you_mean(name, QUANTITIES) or ";"
        raise UsageError(
            f"unknown quantity '{name}' in a target{guess} choose from: {', '.join(QUANTITIES)}."
        )
    try:
        number = float(limit)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"the limit of a target is '{limit}'; it must be a number, as in loss<1e-6.")
    return Target(name, number)


def _numbers(what: str, given: Sequence[float]) -> Point:
    try:
        return tuple(array("d", given))
    except TypeError:
        raise UsageError(f"{what} must be numbers such as 0.5,0.5, not {given!r}.") from None
    except OverflowError:
        raise UsageError(f"{what} contain an integer that is too large for every dtype.") from None


def _check_range(what: str, values: Sequence[float], dtype: str) -> None:
    for value in values:
        if abs(value) > DTYPES[dtype]:
            raise UsageError(f"{what} is {show(value)}; the largest {dtype} number is {DTYPES[dtype]:g}.")


def _unknown(name: str) -> str:
    if name.lower() in {other.lower() for other in OF_OBJECTS}:
        return f"the scheduler {name} takes Python objects, which cannot be written as text; use another one."
    guess = did_you_mean(name, SCHEDULERS) or ";"
    return f"unknown scheduler '{name}'{guess} choose from: {', '.join(SCHEDULERS)}."


def _value(text: str) -> Any:
    """Return the number, boolean, tuple or word of a text."""
    if ";" in text:
        return tuple(_value(part.strip()) for part in text.split(";") if part.strip())
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
