"""Units in the last place: the distance between neighbouring numbers of a dtype."""

from __future__ import annotations

import math

from optitrace.experiment.float_formats import FORMATS


def ulp(value: float, dtype: str) -> float:
    """Return the unit in the last place of a finite number in a dtype; a number's own binade counts.

    >>> ulp(1.0, "float32") == 2.0**-23, ulp(0.75, "float32") == 2.0**-24
    (True, True)
    """
    form = FORMATS[dtype]
    exponent = max(math.frexp(value)[1] - 1, form.smallest_exponent) if value else form.smallest_exponent
    return math.ldexp(1.0, exponent - form.bits + 1)


def ulps_between(a: float, b: float, dtype: str) -> float:
    """Return the distance of two numbers in units in the last place of the larger.

    It is 0 for two of the same number that is not finite, and infinite where just one is not finite.
    """
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / ulp(max(abs(a), abs(b)), dtype)
