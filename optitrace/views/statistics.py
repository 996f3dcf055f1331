"""Statistics of numbers of which some may not be finite: what is not a number is greater than all others."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(numbers: Sequence[float]) -> float:
    """Return the mean, however large the numbers are.

    >>> mean([1.0, 3.0]), mean([1e308, 1e308]), mean([1.0, math.nan])
    (2.0, 1e+308, nan)
    """
    return sum(number / len(numbers) for number in numbers)


def median(numbers: Sequence[float]) -> float:
    """Return the median, of an even count the mean of the two in the middle.

    >>> median([3.0, 1.0, 2.0]), median([1.0, 2.0]), median([math.nan, 1.0, 2.0])
    (2.0, 1.5, 2.0)
    """
    ordered = sorted(number for number in numbers if not math.isnan(number))
    ordered += [math.nan] * (len(numbers) - len(ordered))
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else mean(ordered[middle - 1 : middle + 1])


def least(numbers: Sequence[float]) -> float:
    """Return the least.

    >>> least([2.0, math.nan, 1.0]), least([math.nan])
    (1.0, nan)
    """
    return min((number for number in numbers if not math.isnan(number)), default=math.nan)


def greatest(numbers: Sequence[float]) -> float:
    """Return the greatest.

    >>> greatest([2.0, math.inf]), greatest([math.nan, math.inf, 1.0])
    (inf, nan)
    """
    return math.nan if any(map(math.isnan, numbers)) else max(numbers)


def last(numbers: Sequence[float]) -> float:
    """Return the last.

    >>> last([2.0, 1.0])
    1.0
    """
    return numbers[-1]
