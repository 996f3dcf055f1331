"""Division and powers of Python numbers as IEEE 754 has them, and torch: infinite or NaN, never an error."""

from __future__ import annotations

import math
from typing import Any

Value = Any
"""A Python number, or anything that divides and raises itself."""


def divide(a: Value, b: Value) -> Value:
    """Return ``a / b``.

    >>> divide(1.0, 0.0), divide(-1, 0), divide(0, 0)
    (inf, -inf, nan)
    """
    if not isinstance(b, float | int) or b != 0 or not isinstance(a, float | int):
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, math.copysign(1, a) * math.copysign(1, b))


def power(a: Value, b: Value) -> Value:
    """Return ``a**b``.

    >>> power(1e200, 2), power(0.0, -1), power(-2.0, 0.5)
    (inf, inf, nan)
    """
    if not isinstance(a, float | int) or not isinstance(b, float | int):
        return a**b
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:
        return math.inf if a == 0 else math.nan
