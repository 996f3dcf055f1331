"""Other values of a hyperparameter, to see what it does."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Literal, get_args, get_origin

from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.hyperparameter import Hyperparameter, show

NUMBERS = (0.1, 0.5, 0.9, 1.0, 2.0, 1e-3, 0.0, 10.0, 0.99)
WHOLE_NUMBERS = (1, 2, 3, 5, 10, 0)


def alternatives(hyperparameter: Hyperparameter, value: Any) -> dict[str, Mapping[str, Any]]:
    """Return other values of a hyperparameter, by what of it they change, itself or a part, and as shown.

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


def _words(hyperparameter: Hyperparameter) -> tuple[str, ...]:
    """Return the words that a hyperparameter can be: its own, or those of its namesake in the catalogue."""
    if own := _literals(hyperparameter.type):
        return own
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
        if value is not None and types.NoneType in get_args(kind):
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
