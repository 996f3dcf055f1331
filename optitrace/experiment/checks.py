"""Checks of the settings of an experiment: each returns the value to use, or says what is wrong with it."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Collection, Mapping, Sequence

from optitrace.errors import UsageError, one_of, quoted
from optitrace.experiment.float_formats import FORMATS
from optitrace.experiment.objective import Objective, Point, Quadratic
from optitrace.experiment.target import Target, parse_target
from optitrace.rules.hyperparameter import show
from optitrace.rules.optimizer import Optimizer
from optitrace.text.number_format import listed

DTYPES: Mapping[str, float] = {name: form.largest for name, form in FORMATS.items()}
"""The dtypes that weights can have, and the largest number of each."""

DEFAULT_COORDINATE = 0.5
"""Where each weight starts, as in the documented experiment."""


def device(name: str) -> str:
    """Return the name of a device, which may or may not be there."""
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]{0,8}))?", name):
        raise UsageError(
            f"unknown device {quoted(name)}; there are cpu, cuda, cuda:N (such as cuda:1) and auto."
        )
    return name


def steps(count: int) -> int:
    """Return a number of steps."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise UsageError(f"steps is {count}; it must be a whole number from 0 on.")
    return count


def seed(number: int) -> int:
    """Return a seed that torch's generators take."""
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**63:
        raise UsageError(f"seed is {number}; it must be a whole number from 0 on, below 2^63.")
    return number


def amount(what: str, value: float) -> float:
    """Return a number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UsageError(f"{what} is {value}; it must be a number from 0 on.")
    return float(value)


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


def _numbers(what: str, given: Sequence[float]) -> Point:
    try:
        return tuple(array("d", given))
    except TypeError:
        raise UsageError(f"{what} must be numbers such as 0.5,0.5, not {given!r}.") from None
    except OverflowError:
        raise UsageError(f"{what} hold a whole number that is too large; no dtype holds it.") from None


def _check_range(what: str, values: Sequence[float], dtype: str) -> None:
    for value in values:
        if abs(value) > DTYPES[dtype]:
            raise UsageError(f"{what} is {show(value)}; {dtype} holds numbers up to {DTYPES[dtype]:g}.")
