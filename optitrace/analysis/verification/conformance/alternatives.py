"""Other values of a hyperparameter, to see what it does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Literal, get_args, get_origin

from optitrace.rules.hyperparameter import Hyperparameter

NUMBERS = (0.1, 0.5, 0.9, 1.0, 2.0, 1e-3, 0.0, 10.0, 0.99)
WHOLE_NUMBERS = (1, 2, 3, 5, 10, 0)


def alternatives(hyperparameter: Hyperparameter, value: Any) -> dict[str, list[Any]]:
    """Return other values of a hyperparameter, by what of it they change: itself, or a part of it.

    >>> adam = Hyperparameter("adam", "betas", (0.9, 0.999), tuple[float, float])
    >>> list(alternatives(adam, (0.9, 0.999)))
    ['betas[0]', 'betas[1]']
    """
    if isinstance(value, tuple):
        return {
            f"{hyperparameter.name}[{i}]": [
                (*value[:i], other, *value[i + 1 :]) for other in _others(part, float)
            ]
            for i, part in enumerate(value)
        }
    return {hyperparameter.name: list(_others(value, hyperparameter.type))}


def switched_on(hyperparameter: Hyperparameter, value: Any) -> list[Any]:
    """Return values that switch something on, or off where it is a switch that is on by default."""
    is_off = value is None or value == 0
    if isinstance(value, bool) or (is_off and not isinstance(value, tuple)):
        return list(_others(value, hyperparameter.type))
    return []


def _others(value: Any, kind: Any) -> Iterator[Any]:
    """Yield values other than `value`, of its kind."""
    literals = [member for member in (kind, *get_args(kind)) if get_origin(member) is Literal]
    words = [word for literal in literals for word in get_args(literal)]
    if isinstance(value, bool):
        yield not value
    elif words:
        yield from (word for word in words if word != value)
    elif value is None:
        yield from (0.1, 1, True)
    elif isinstance(value, int):
        yield from _unequal(value, chain((value + 1, 2 * value), WHOLE_NUMBERS, NUMBERS))
    elif isinstance(value, float):
        yield from _unequal(value, chain((2 * value, value / 2), NUMBERS))


def _unequal(value: float, others: Iterator[float]) -> Iterator[float]:
    return (other for other in others if other != value)
