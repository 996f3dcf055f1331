"""The parts of a weight change: those of the gradient, of the momentum, and of weight decay.

A rule is evaluated once more on numbers that remember what they are made of. Sums keep the parts
apart, and factors without parts scale them all; whatever else is done to such a number (its square, its
root, its sign) leaves a plain number without parts. So ``w - lr * m / (sqrt(v) + eps)`` falls into what
``m`` is made of, and no optimizer needs a decomposition of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optitrace.functions import divide

Value = Any
"""A number, or a tensor of them."""

GRADIENT = "gradient"
MOMENTUM = "momentum"
DECAY = "weight decay"
STEP = "step"
"""The part of an update that cannot be split, since it is not linear in the gradient and state."""

ORDER = (GRADIENT, MOMENTUM, DECAY, STEP)

WEIGHTS = "weights"
"""The weights before the step, which are no part of their change."""

MEMORIES: Mapping[str, str] = {"momentum_buffer": MOMENTUM, "exp_avg": MOMENTUM}
"""The state entries, by torch's names, that carry gradients of earlier steps into an update."""

DECAY_RATES = ("weight_decay", "lambd")
"""The hyperparameters whose product with the weights is the part of weight decay."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the summands of a weight change.

    Attributes:
        name: its origin: ``gradient``, ``momentum``, ``weight decay``, or ``step`` if the rule
            cannot be split.
        value: its contribution to the weights, in their form.
    """

    name: str
    value: Value


class Mixture:
    """A number, or a tensor, and the named parts that it is the sum of."""

    __slots__ = ("parts", "total")

    def __init__(self, total: Value, parts: Mapping[str, Value]) -> None:
        self.total = total
        self.parts = parts

    @property
    def is_coefficient(self) -> bool:
        """Whether this is a factor such as ``1 - lr * weight_decay``, not a sum of parts."""
        return all(name in (DECAY, STEP) for name in self.parts)

    @classmethod
    def of(cls, name: str, value: Value) -> Mixture:
        """Return a number that is wholly one part."""
        return cls(value, {name: value})

    def __add__(self, other: Value) -> Mixture:
        added = other if isinstance(other, Mixture) else Mixture.of(STEP, other)
        parts = dict(self.parts)
        for name, value in added.parts.items():
            parts[name] = parts[name] + value if name in parts else value
        return Mixture(self.total + added.total, parts)

    __radd__ = __add__

    def __neg__(self) -> Mixture:
        return Mixture(-self.total, {name: -value for name, value in self.parts.items()})

    def __sub__(self, other: Value) -> Value:
        return self + -other

    def __rsub__(self, other: Value) -> Value:
        return -self + other

    def __mul__(self, other: Value) -> Value:
        if not isinstance(other, Mixture):
            return Mixture(self.total * other, {name: value * other for name, value in self.parts.items()})
        total = self.total * other.total
        if other.is_coefficient:
            return Mixture(total, _scaled(self.parts, other.parts))
        return Mixture(total, _scaled(other.parts, self.parts)) if self.is_coefficient else total

    __rmul__ = __mul__

    def __truediv__(self, other: Value) -> Mixture:
        divisor = plain(other)
        return Mixture(
            divide(self.total, divisor), {name: divide(value, divisor) for name, value in self.parts.items()}
        )

    def __rtruediv__(self, other: Value) -> Value:
        return divide(other, self.total)


def plain(value: Value) -> Value:
    """Return a number without its parts."""
    return value.total if isinstance(value, Mixture) else value


def change(before: Sequence[Value], after: Sequence[Value]) -> dict[str, tuple[Value, ...]]:
    """Return the named parts of the change from the weights `before` to the weights `after`.

    Args:
        before: the weights before the step, plain.
        after: the weights after it, as they came out of the rule.
    """
    changes = [_change(old, new) for old, new in zip(before, after, strict=True)]
    return {
        name: tuple(parts.get(name, 0.0) + 0.0 for parts in changes)  # + 0.0: no part is -0.0
        for name in ORDER
        if any(name in parts for parts in changes)
    }


def _change(old: Value, new: Value) -> dict[str, Value]:
    if not isinstance(new, Mixture):
        return {STEP: new - old}
    return {name: value for name, value in new.parts.items() if name != WEIGHTS}


def _scaled(parts: Mapping[str, Value], coefficient: Mapping[str, Value]) -> dict[str, Value]:
    """Return parts times a coefficient; the product with a decay rate is part of the decay."""
    scaled: dict[str, Value] = {}
    for factor_name, factor in coefficient.items():
        for name, value in parts.items():
            product = DECAY if factor_name == DECAY else name
            scaled[product] = scaled.get(product, 0.0) + value * factor
    return scaled
