"""Tolerances: when two numbers count as the same, and units in the last place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from optitrace.errors import amount
from optitrace.experiment.float_formats import FORMATS

CLOSE: Mapping[str, tuple[float, float]] = {
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "bfloat16": (1.6e-2, 1e-5),
    "float16": (1e-3, 1e-5),
}
"""The relative and the absolute tolerance of `torch.testing.assert_close`, by dtype (torch 2.13)."""

_HELD_BY = {
    "float64": ("float64",),
    "float32": ("float32", "float64"),
    "bfloat16": ("bfloat16", "float32", "float64"),
    "float16": ("float16", "float32", "float64"),
}
"""The dtypes that a number of a run can have: the run's own, or a wider one, as an lr does."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The largest accepted distance of two numbers a and b.

    They count as the same if |a − b| ≤ atol + rtol·|b|, or if they are at most `ulps` apart. NaN is the
    same as NaN. If nothing is allowed they must have the same bits, so that 0 is not −0.

    Attributes:
        rtol: relative to b, the second trace's number; dimensionless.
        atol: absolute.
        ulps: in units in the last place.
    """

    rtol: float = 0.0
    atol: float = 0.0
    ulps: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: one is negative, or no number.
        """
        for field in fields(self):
            amount(field.name, getattr(self, field.name))

    @property
    def is_exact(self) -> bool:
        """Whether numbers must have the same bits."""
        return self == EXACT

    def allows(self, a: float, b: float, dtypes: tuple[str, str]) -> bool:
        """Return whether two numbers, of runs of these dtypes, count as the same."""
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        if self.is_exact:
            return a == b and math.copysign(1, a) == math.copysign(1, b)
        if a == b or (math.isfinite(b) and abs(a - b) <= self.atol + self.rtol * abs(b)):
            return True
        return self.ulps > 0 and ulps_between(a, b, unit_dtype(a, b, dtypes)) <= self.ulps


EXACT = Tolerance()
"""The same bits."""


ToleranceOf = Callable[[tuple[str, str]], Tolerance]
"""Returns the tolerance for two runs of these dtypes."""


def tolerance(
    *, close: bool, rtol: float | None = None, atol: float | None = None, ulps: float | None = None
) -> ToleranceOf:
    """Return the tolerance that is asked for.

    Args:
        close: allow what `torch.testing.assert_close` allows, of two dtypes the wider one; else nothing.
        rtol: the relative tolerance, instead of that.
        atol: the absolute tolerance, instead of that.
        ulps: that in units in the last place.

    Raises:
        UsageError: a number is negative, or none.
    """
    given = {"rtol": rtol, "atol": atol, "ulps": ulps}
    asked = replace(EXACT, **{name: amount for name, amount in given.items() if amount is not None})

    def of_dtypes(dtypes: tuple[str, str]) -> Tolerance:
        relative, absolute = zip(*(CLOSE[dtype] for dtype in dtypes), strict=True)
        return replace(
            asked,
            rtol=max(relative) if close and rtol is None else asked.rtol,
            atol=max(absolute) if close and atol is None else asked.atol,
        )

    return of_dtypes


def unit_dtype(a: float, b: float, dtypes: tuple[str, str]) -> str:
    """Return the dtype in whose units two numbers, of runs of these dtypes, are compared.

    Not all that a run records has the run's dtype: an lr has float64, a counter float32. So a number is
    taken to have the run's dtype if that holds it, or else the next that does. Of two runs of one dtype
    the units are those of the dtype that holds both numbers; of two dtypes, those of the coarser.

    >>> unit_dtype(0.5, 0.1, ("float32", "float64")), unit_dtype(0.5, 0.1, ("float32", "float32"))
    ('float32', 'float64')
    """
    held = [next(d for d in _HELD_BY[dtype] if _holds(d, x)) for x, dtype in zip((a, b), dtypes, strict=True)]
    choose = max if dtypes[0] == dtypes[1] else min
    return choose(held, key=lambda dtype: FORMATS[dtype].bits)


def ulp(value: float, dtype: str) -> float:
    """Return the unit in the last place of a finite number in a dtype; a number's own binade counts.

    >>> ulp(1.0, "float32") == 2.0**-23, ulp(0.75, "float32") == 2.0**-24
    (True, True)
    """
    form = FORMATS[dtype]
    exponent = max(math.frexp(value)[1] - 1, form.smallest_exponent) if value else form.smallest_exponent
    return math.ldexp(1.0, exponent - form.bits + 1)


def rounded(value: float, dtype: str) -> float:
    """Return the number of a dtype that is nearest to a number, infinite beyond its largest.

    >>> rounded(1.001, "bfloat16"), rounded(1.006, "bfloat16"), rounded(70000.0, "float16")
    (1.0, 1.0078125, inf)
    """
    if not math.isfinite(value) or dtype == "float64":
        return value
    unit = ulp(value, dtype)
    nearest = round(value / unit) * unit
    return nearest if abs(nearest) <= FORMATS[dtype].largest else math.copysign(math.inf, value)


def ulps_between(a: float, b: float, dtype: str) -> float:
    """Return the distance of two numbers in units in the last place of the larger.

    It is 0 for two of the same number that is not finite, and infinite where just one is not finite.
    """
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / ulp(max(abs(a), abs(b)), dtype)


def _holds(dtype: str, value: float) -> bool:
    return dtype == "float64" or not math.isfinite(value) or (value / ulp(value, dtype)).is_integer()
