"""Steps whose numbers are far outside of the run before them, told robustly.

A number is compared with the median and the spread of up to `WINDOW` rows before it, in the logarithm: losses
and norms are positive and vary by factors. The spread is that of a row from the one before, so that a slow
descent has little of it. Rows that were outliers themselves are left out of the window.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from optitrace.records.training import OptimizerTrace

WINDOW = 50
"""How many rows a number is compared with, at most."""

FEWEST_BEFORE = 15
"""How many rows there must be before a number can be an outlier: the first steps of a training vary."""

FACTOR = 8.0
"""How many times the median an outlier is, at least."""

SPREADS = 8.0
"""How many spreads it is above the median, at least."""

ABOVE_GREATEST = 3.0
"""How many times the greatest number of the window it is: heavy tails have more than one large number."""

RETURN = 10
"""Within how many rows a spike is over; what stays for longer is a new level."""

GAP = 3
"""How many rows apart two outliers can be that belong to one episode."""

CAUSES = ("lr", "gradient_norm", "update_norm", "loss")
"""The columns that are looked at: each before those that it can be the cause of."""

DEVIATIONS = 1.4826 / math.sqrt(2)
"""The standard deviation of normal numbers by the median distance of two of them."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How a number stands to those before it.

    Attributes:
        value: the number.
        usual: the median of the window.
        spread: the standard deviation of the logarithms of neighbours in the window, robustly.
        least: the least number of the window.
        greatest: the greatest one.
        rows: how many rows the window has.
    """

    value: float
    usual: float
    spread: float
    least: float
    greatest: float
    rows: int

    @property
    def factor(self) -> float:
        """How many times the median the number is."""
        return self.value / self.usual

    @property
    def is_far(self) -> bool:
        """Whether the number is an outlier."""
        return (
            self.value > ABOVE_GREATEST * self.greatest
            and self.factor > FACTOR
            and math.log(self.factor) > SPREADS * self.spread
        )


@dataclass(frozen=True, slots=True)
class Episode:
    """Rows that follow one another, nearly, in which something is far outside of the run before.

    Attributes:
        rows: the rows.
        first: how the quantities that are outliers in the first row stand to those before.
        shifted: those of them that stay on their new level.
    """

    rows: tuple[int, ...]
    first: Mapping[str, Deviation]
    shifted: frozenset[str]

    @property
    def cause(self) -> str:
        """What came first of the outliers in the first row: the lr, the gradient, the update or the loss.

        What stays on its new level is none: it goes on after the spike.
        """
        return next(name for name in CAUSES if name in self.first and name not in self.shifted)


def deviation(
    numbers: Sequence[float], row: int, left_out: Container[int] = (), *, fewest: int = FEWEST_BEFORE
) -> Deviation | None:
    """Return how a number stands to those before it; None if one of them cannot be compared.

    Args:
        numbers: those of all rows; those that are not finite and positive are passed by.
        row: the row of the number.
        left_out: the rows that do not count.
        fewest: how many rows there must be before it.
    """
    value = numbers[row]
    if not 0 < value < math.inf:
        return None
    before = [
        x
        for k in range(row - 1, max(-1, row - 1 - 2 * WINDOW), -1)
        if 0 < (x := numbers[k]) < math.inf and k not in left_out
    ][:WINDOW]
    if len(before) < fewest:
        return None
    usual = median(before)
    distances = [abs(math.log(x / y)) for x, y in pairwise(before)]
    return Deviation(
        value, usual, DEVIATIONS * median(distances or [0.0]), min(before), max(before), len(before)
    )


def greatest_of(optimizer: OptimizerTrace, name: str) -> Sequence[float]:
    """Return a column's number of each row, the greatest where there is one for each group; NaN if none."""
    column = optimizer.columns.get(name)
    if column is None:
        return ()
    if column.size == 1 and not column.first:
        return column.values
    rows = (column.row(row) for row in range(len(optimizer.steps)))
    return array("d", (max(values) if values else math.nan for values in rows))


def episodes(optimizer: OptimizerTrace) -> Iterator[Episode]:
    """Yield the episodes of an optimizer in which something spikes, in the order of their rows.

    A change of level, as a curriculum or a new phase makes it, is none: something must come back. An outlier
    in the last row is a spike where there was one before.
    """
    has_any = False
    columns = {name: numbers for name in CAUSES if (numbers := greatest_of(optimizer, name))}
    found = {name: outliers(numbers) for name, numbers in columns.items()}
    rows = sorted(set().union(*found.values()))
    while rows:
        size = next((k for k in range(1, len(rows)) if rows[k] - rows[k - 1] > GAP), len(rows))
        own, rows = rows[:size], rows[size:]
        first = {name: far[own[0]] for name, far in found.items() if own[0] in far}
        shifted = frozenset(name for name in first if _stays(columns[name], own[0], first[name]))
        is_last = own[0] == len(optimizer.steps) - 1
        if shifted == first.keys():
            if not (is_last and has_any):
                continue
            shifted = frozenset()
        has_any = True
        yield Episode(tuple(own), first, shifted)


def outliers(numbers: Sequence[float]) -> Mapping[int, Deviation]:
    """Return the outliers of a column; of a new level those that come before it counts as one."""
    found: dict[int, Deviation] = {}
    since: list[int] = []  # the outliers that followed one another up to now
    left_out: set[int] = set()
    for row in range(FEWEST_BEFORE, len(numbers)):
        is_clear = not found or row - next(reversed(found)) > FEWEST_BEFORE
        if is_clear and numbers[row] <= ABOVE_GREATEST * max(numbers[row - FEWEST_BEFORE : row]):
            continue  # most rows, for little
        stands = deviation(numbers, row, left_out)
        if stands is None or not stands.is_far:
            since = []
            continue
        found[row] = stands
        since.append(row)
        left_out.add(row)
        if len(since) > RETURN:
            left_out.difference_update(since)
            since = []
    return found


def _stays(numbers: Sequence[float], row: int, first: Deviation) -> bool:
    """Return whether a quantity does not come back, at least half the way in its logarithm."""
    after = numbers[row + 1 : row + 1 + RETURN]
    half = math.sqrt(first.value * first.usual)
    return not any(x < half for x in after)
