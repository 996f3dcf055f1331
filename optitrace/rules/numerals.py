"""How a number is written: fixed where that shows it, scientific where it would not."""

from __future__ import annotations

import math

LARGEST_FIXED = 1e7
"""A number of this size or more is written in scientific form."""


def format_number(value: float, precision: int) -> str:
    """Return a number with `precision` decimals.

    A number that fixed decimals would show as zero, or one of `LARGEST_FIXED` or more, is written in
    scientific form; one that is not finite as ``inf``, ``-inf`` or ``nan``.

    >>> format_number(0.9799999, 4), format_number(-0.5, 2)
    ('0.9800', '-0.50')
    >>> format_number(3.1e-7, 4), format_number(-12345678.0, 4)
    ('3.1000e-07', '-1.2346e+07')
    >>> format_number(0.0, 4), format_number(-0.0, 4)
    ('0.0000', '0.0000')
    >>> format_number(float("-inf"), 4), format_number(float("nan"), 4)
    ('-inf', 'nan')
    """
    if value == 0:
        return f"{0.0:.{precision}f}"
    if not math.isfinite(value):
        return str(float(value))
    if abs(value) < LARGEST_FIXED:
        fixed = f"{value:.{precision}f}"
        if float(fixed) != 0:
            return fixed
    return f"{value:.{precision}e}"
