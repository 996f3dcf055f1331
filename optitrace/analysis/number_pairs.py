"""Pairs of numbers: one quantity of two traces, number beside number."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import ne

from optitrace.analysis.tolerance import Tolerance, ulps_between, unit_dtype
from optitrace.records.trace import Numbers


@dataclass(frozen=True, slots=True)
class Difference:
    """Two numbers that stand in the same place of two traces.

    Attributes:
        quantity: ``loss``, ``gradient``, ``lr``, a state entry, ``weights`` or ``final_loss``.
        step: the step of the row.
        coordinate: which coordinate, from 1; None for a scalar.
        a: the first trace's number.
        b: the second trace's.
        ulps: how far apart they are in units in the last place; infinite if one is not finite.
        dtype: the dtype whose units these are.
    """

    quantity: str
    step: int
    coordinate: int | None
    a: float
    b: float
    ulps: float
    dtype: str

    @property
    def size(self) -> float:
        """The absolute value of the difference; infinite if not both numbers are finite."""
        return _gap(self.a, self.b)


@dataclass(frozen=True, slots=True)
class NumberPairs:
    """One quantity of two traces.

    Attributes:
        quantity: its name.
        a: the first trace's numbers, row after row.
        b: the second trace's, as many.
        steps: the step of each row.
        shape: the shape of one row's value.
        dtypes: the dtypes of the two runs.
    """

    quantity: str
    a: Numbers
    b: Numbers
    steps: Sequence[int]
    shape: tuple[int, ...]
    dtypes: tuple[str, str]

    def differing(self, tolerance: Tolerance) -> list[int]:
        """Return the positions of the numbers that do not count as the same."""
        if self.a.tobytes() == self.b.tobytes():
            return []
        a, b = self.a, self.b
        unequal = compress(range(len(a)), map(ne, _bits(a), _bits(b)))
        if tolerance.is_exact:
            return [k for k in unequal if not (a[k] != a[k] and b[k] != b[k])]
        return [k for k in unequal if not tolerance.allows(a[k], b[k], self.dtypes)]

    def greatest(self, positions: Sequence[int]) -> Difference:
        """Return the greatest difference among some positions; the earliest of equal ones."""
        gaps = [_gap(self.a[k], self.b[k]) for k in positions]
        return self.difference(positions[max(range(len(gaps)), key=gaps.__getitem__)])

    def difference(self, position: int) -> Difference:
        """Return the two numbers at a position."""
        a, b = self.a[position], self.b[position]
        row, coordinate = divmod(position, math.prod(self.shape))
        dtype = unit_dtype(a, b, self.dtypes)
        return Difference(
            quantity=self.quantity,
            step=self.steps[row],
            coordinate=coordinate + 1 if self.shape else None,
            a=a,
            b=b,
            ulps=ulps_between(a, b, dtype),
            dtype=dtype,
        )

    def positions(self, row: int) -> range:
        """Return the positions of a row."""
        size = math.prod(self.shape)
        return range(row * size, (row + 1) * size)


def _bits(values: Numbers) -> array[int]:
    """Return the bits of each number as an integer: 0 and −0 are unequal, as are NaN and no other."""
    return array("q", values.tobytes())


def _gap(a: float, b: float) -> float:
    if a == b or (a != a and b != b):
        return 0.0
    gap = abs(a - b)
    return gap if gap == gap else math.inf
