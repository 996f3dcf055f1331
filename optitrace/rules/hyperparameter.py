"""The hyperparameter: a name, a default, a type, and how its value is read from text and checked."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

from optitrace.errors import UsageError, quoted
from optitrace.rules.summaries import SUMMARIES

Value: TypeAlias = "float | int | bool | str | tuple[float | None, ...] | None"
"""What a hyperparameter can be."""

MINIMUM: Mapping[str, float] = {
    "asgd.alpha": 0,
    "asgd.lambd": 0,
    "asgd.t0": 0,
    "lbfgs.history_size": 1,
    "lbfgs.max_eval": 1,
    "lbfgs.max_iter": 1,
    "lbfgs.tolerance_change": 0,
    "lbfgs.tolerance_grad": 0,
    "muon.ns_steps": 0,
}
"""Lower bounds that torch itself does not check."""

MAXIMUM: Mapping[str, float] = {"muon.ns_steps": 99}
"""Upper bounds that torch checks only when it steps."""

RANGES = ("rprop.step_sizes",)
"""Pairs of step sizes, the smallest and the largest, which torch itself does not check."""


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One setting of an optimizer.

    Attributes:
        optimizer: the optimizer that it belongs to, in lower case.
        name: torch's name.
        default: the value where none is given.
        type: its type, as Python's typing writes it.
    """

    optimizer: str
    name: str
    default: Value
    type: Any

    @classmethod
    def of(cls, optimizer: str, parameter: inspect.Parameter) -> Hyperparameter:
        """Return the hyperparameter that a parameter of a rule or of a class stands for."""
        return cls(optimizer, parameter.name, parameter.default, parameter.annotation)

    @property
    def summary(self) -> str:
        """What it does, in one sentence; empty for a name that is not known."""
        return SUMMARIES.get(f"{self.optimizer}.{self.name}", SUMMARIES.get(self.name, ""))

    def parse(self, text: str) -> Value:
        """Return the value that a text stands for.

        Numbers in a tuple are separated by commas or semicolons: ``0.9,0.99``.

        Raises:
            UsageError: the text does not stand for a value of this type.
        """
        try:
            return self.check(_parse(text.strip(), self.type))
        except ValueError:
            raise self._wrong(text) from None

    def check(self, value: Any) -> Value:
        """Return `value` as this hyperparameter's type.

        Raises:
            UsageError: it is of another type, not finite, or out of the bounds of what the optimizer can use.
        """
        try:
            converted: Value = _convert(value, self.type)
        except (TypeError, ValueError, OverflowError):
            raise self._wrong(value) from None
        if reason := self._out_of_bounds(converted):
            raise UsageError(f"{self.optimizer}: {self.name} is {show(converted)}; {reason}.")
        return converted

    def takes(self, value: Any) -> bool:
        """Return whether a value can be converted to this hyperparameter's type."""
        try:
            _convert(value, self.type)
        except (TypeError, ValueError, OverflowError):
            return False
        return True

    def _out_of_bounds(self, value: Any) -> str:
        """Return what a value of the right type must be and is not; an empty text if it may be used."""
        key = f"{self.optimizer}.{self.name}"
        parts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(part, float) and not math.isfinite(part) for part in parts):
            return "it must be finite"
        if value is not None and key in MINIMUM and value < MINIMUM[key]:
            return f"it must be at least {MINIMUM[key]:g}"
        if value is not None and key in MAXIMUM and value > MAXIMUM[key]:
            return f"it must be at most {MAXIMUM[key]:g}"
        if key in RANGES and not 0 < value[0] <= value[1]:
            return "it must be the smallest step size, above 0, and then the largest"
        return ""

    def _wrong(self, value: object) -> UsageError:
        given = quoted(value) if isinstance(value, str) else repr(value)
        return UsageError(f"{self.optimizer}: {self.name} must be {describe(self.type)}, not {given}.")


def has_no(optimizer: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence that says that an optimizer has no such hyperparameter, and which it has.

    >>> has_no("adam", "momentum", ["lr", "betas"])
    'adam has no momentum; its hyperparameters are lr, betas.'
    """
    return f"{optimizer} has no {name}; its hyperparameters are {', '.join(known) or 'none'}."


def describe(kind: Any) -> str:
    """Return a type in words, for messages and help.

    >>> describe(tuple[float, float])
    '2 numbers such as 0.1,0.2'
    """
    if kind is bool:
        return "true or false"
    if kind is int:
        return "a whole number"
    if kind is float:
        return "a number"
    if kind is types.NoneType:
        return "none"
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) is tuple:
        count = len(get_args(kind))
        return f"{count} numbers such as {','.join(f'0.{k}' for k in range(1, count + 1))}"
    if _is_union(kind):
        return " or ".join(describe(member) for member in get_args(kind))
    return "a text"


def show(value: Value) -> str:
    """Return a value as it is typed on the command line, with all its digits.

    >>> show((None, 0.001)), show(True), show(50.0)
    ('none,0.001', 'true', '50')
    """
    if isinstance(value, tuple):
        return ",".join(show(part) for part in value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _parse(text: str, kind: Any) -> Any:
    """Read a text as a type; ValueError where it does not fit."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind is int:
        return int(text)
    if kind is float:
        return float(text)
    if get_origin(kind) is tuple:
        parts = text.strip("()[] ").replace(";", ",").split(",")
        members = get_args(kind)
        if len(parts) != len(members):
            raise ValueError(text)
        return tuple(_parse(part.strip(), member) for part, member in zip(parts, members, strict=True))
    if _is_union(kind):
        if text.lower() == "none" and types.NoneType in get_args(kind):
            return None
        return _parse_as_a_member(text, [m for m in get_args(kind) if m is not types.NoneType])
    return text


def _parse_as_a_member(text: str, members: list[Any]) -> Any:
    for member in members[:-1]:
        try:
            return _parse(text, member)
        except ValueError:
            continue
    return _parse(text, members[-1])


def _convert(value: Any, kind: Any) -> Any:
    """Return a value as a type; ValueError or TypeError where it does not fit."""
    if kind is Any:  # of a class that is known from a file alone
        return value
    if kind is float and not isinstance(value, bool | str):
        return float(value)
    if kind is int and not isinstance(value, bool | str) and int(value) == value:
        return int(value)
    if (kind is bool and isinstance(value, bool)) or (kind is str and isinstance(value, str)):
        return value
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is types.NoneType and value is None:
        return value
    if get_origin(kind) is tuple:
        return tuple(_convert(v, member) for v, member in zip(value, get_args(kind), strict=True))
    if _is_union(kind):
        return _convert_to_a_member(value, get_args(kind))
    raise TypeError(value)


def _convert_to_a_member(value: Any, members: tuple[Any, ...]) -> Any:
    for member in members:
        try:
            return _convert(value, member)
        except (TypeError, ValueError):
            continue
    raise TypeError(value)
