"""The differences of two tables: where they first differ, in which quantity, by how much, and the growth."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import ne

from optitrace.analysis.tolerance import EXACT, Tolerance, ulps_between, unit_dtype
from optitrace.records.quantity import Per, Quantity
from optitrace.records.trace import Column, Numbers, Table
from optitrace.text import counted

GROWTH_STEPS = frozenset(factor * 10**power for power in range(18) for factor in (1, 2, 5))
"""The steps at which the growth of a difference is reported: 1, 2, 5, 10, 20, 50 and so on."""

BY_PARAMETER = "by_parameter"
"""The name of the numbers of each parameter, where just one table has them."""


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
class QuantityDifferences:
    """The differences of two traces in one quantity.

    Attributes:
        quantity: its name.
        compared: how many numbers were compared.
        differing: how many of them differ by more than the tolerance.
        first: the first of those; None if there is none.
        greatest: the greatest of those; None if there is none.
    """

    quantity: str
    compared: int
    differing: int = 0
    first: Difference | None = None
    greatest: Difference | None = None


@dataclass(frozen=True, slots=True)
class Incomparable:
    """A quantity that two traces have in different forms.

    Attributes:
        quantity: its name.
        a: its form in the first trace, in words; empty if it has none.
        b: its form in the second.
    """

    quantity: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Differences:
    """The differences of the numbers of two runs A and B.

    Attributes:
        tolerance: the tolerance within which numbers count as the same.
        last_steps: the last step of each.
        recorded: the number of recorded steps of each.
        compared: the number of steps that both recorded.
        compared_to: the last of those; 0 if there is none.
        quantities: the quantities that both have, in the order within a step.
        incomparable: the quantities that they have in different forms.
        only: the quantities that only A recorded on request, and those that only B did; not a difference.
        growth: the greatest difference at some of the steps from the first difference on: of what a step
            ends with, the weights, if that differs, or else of the quantity that differs first.
        declared: the quantities that were compared, by name; the program itself named all others.
        entry: the scope of the numbers of those others.
        parameters: the parameters that both have numbers of, one by one.
        by_parameter: the quantities that were compared parameter by parameter.
    """

    tolerance: Tolerance
    last_steps: tuple[int, int]
    recorded: tuple[int, int]
    compared: int
    compared_to: int
    quantities: tuple[QuantityDifferences, ...]
    incomparable: tuple[Incomparable, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    growth: tuple[Difference, ...]
    declared: Mapping[str, Quantity]
    entry: Per
    parameters: tuple[str, ...] = ()
    by_parameter: tuple[str, ...] = ()

    @property
    def first(self) -> Difference | None:
        """The first difference: of the earliest step, and there of the first quantity."""
        return _first(self.quantities)

    @property
    def are_same(self) -> bool:
        """Whether nothing differs, nothing is missing, and both end at one step."""
        return self.first is None and not self.incomparable and len(set(self.last_steps)) == 1

    def owner(self, difference: Difference) -> str:
        """Return the owner of one of several numbers; empty for a single number."""
        if difference.coordinate is None:
            return ""
        place, quantity = difference.coordinate - 1, self.declared.get(difference.quantity)
        if difference.quantity in self.by_parameter:
            return self.parameters[place]
        return (self.entry if quantity is None else quantity.per).owner(place)


def diff(a: Table, b: Table, tolerance: Tolerance = EXACT) -> Differences:
    """Compare two tables number by number, at the steps that both have.

    Where both have numbers of each parameter, those are compared instead of the numbers of all, for the
    parameters that both have.
    """
    last_steps = a.last_step, b.last_step
    recorded = _recorded(a), _recorded(b)
    ends = (a.at_the_end, b.at_the_end) if last_steps[0] == last_steps[1] else ({}, {})
    if a.steps != b.steps:
        a, b = a.at_steps(b.steps), b.at_steps(a.steps)
    known = set(b.recorded_parameters)
    parameters = tuple(name for name in a.recorded_parameters if name in known)
    only = _only(a, b), _only(b, a)
    mine, theirs = (
        {name: column for name, column in _compared(table, parameters).items() if name not in left_out}
        for table, left_out in zip((a, b), only, strict=True)
    )
    columns, incomparable = _matched(mine, theirs, a.steps)
    dtypes = a.dtype, b.dtype
    pairs = [_paired(name, *both, a.steps, dtypes) for name, both in columns.items()]
    for name, number in ends[0].items():
        own, others = (Column(array("d", [value]), ()) for value in (number, ends[1][name]))
        pairs.append(_paired(name, own, others, a.steps[-1:], dtypes))
    quantities = [_compare(pair, tolerance) for pair in pairs]
    return Differences(
        tolerance=tolerance,
        last_steps=last_steps,
        recorded=recorded,
        compared=_recorded(a),
        compared_to=a.steps[-1] if a.steps else 0,
        quantities=tuple(quantities),
        incomparable=tuple(incomparable),
        only=only,
        growth=tuple(_growth(pairs, quantities, a.RESULT)),
        declared={quantity.name: quantity for quantity in (*b.recorded, *a.recorded)},
        entry=a.ENTRY,
        parameters=parameters,
        by_parameter=tuple(q.name for q in a.recorded if q.each_parameter) if parameters else (),
    )


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
        """Return the positions of the numbers that differ by more than the tolerance."""
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


def _recorded(table: Table) -> int:
    """Return the number of recorded steps; row 0 of a trace is the start."""
    return sum(step > 0 for step in table.steps)


def _compared(table: Table, parameters: Sequence[str]) -> dict[str, Column]:
    """Return the compared columns of a table, in the order within a step."""
    columns = table.named_columns()
    if table.RESULT in columns:
        columns[table.RESULT] = columns.pop(table.RESULT)
    if parameters:
        own = {name: place for place, name in enumerate(table.recorded_parameters)}
        places = [own[name] for name in parameters]
        columns |= {name: _at_places(column, places) for name, column in table.by_parameter.items()}
    return columns


def _at_places(column: Column, places: Sequence[int]) -> Column:
    """Return a column restricted to some numbers of each row."""
    if places == list(range(column.size)):
        return column
    rows = range(0, len(column.values), column.size)
    values = array("d", (column.values[row + place] for row in rows for place in places))
    return Column(values, (len(places),), column.first)


def _only(table: Table, other: Table) -> tuple[str, ...]:
    """Return the requested quantities that only one of two tables has."""
    is_asked_for = "state" in table.ASKED_FOR and not (table.state and other.state)
    always = len(table.recorded) + (0 if is_asked_for else len(table.state))
    asked = [*table.named_columns()][always:]
    names = [name for name in asked if name not in other.named_columns()]
    return (*names, *([BY_PARAMETER] if table.by_parameter and not other.by_parameter else ()))


def _matched(
    a: Mapping[str, Column], b: Mapping[str, Column], steps: Sequence[int]
) -> tuple[dict[str, tuple[Column, Column]], list[Incomparable]]:
    """Return the comparable columns by name, and the columns that differ in form or in their first row."""
    matched = {}
    incomparable = []
    for name in dict.fromkeys((*a, *b)):
        mine, theirs = a.get(name), b.get(name)
        if mine is None or theirs is None or mine.shape != theirs.shape:
            incomparable.append(Incomparable(name, _form(mine), _form(theirs)))
        else:
            matched[name] = (mine, theirs)
            if mine.first != theirs.first:
                incomparable.append(Incomparable(name, _begin(steps, mine), _begin(steps, theirs)))
    return matched, incomparable


def _begin(steps: Sequence[int], column: Column) -> str:
    return f"values from step {steps[column.first]} on" if column.first < len(steps) else "no values"


def _form(column: Column | None) -> str:
    if column is None:
        return ""
    return counted(column.size, "coordinate") if column.shape else "one number"


def _paired(name: str, a: Column, b: Column, steps: Sequence[int], dtypes: tuple[str, str]) -> NumberPairs:
    """Return two columns from the first row on that both have."""
    first = max(a.first, b.first)
    numbers = [column.values[(first - column.first) * column.size :] for column in (a, b)]
    return NumberPairs(name, numbers[0], numbers[1], steps[first:], a.shape, dtypes)


def _compare(pairs: NumberPairs, tolerance: Tolerance) -> QuantityDifferences:
    positions = pairs.differing(tolerance)
    if not positions:
        return QuantityDifferences(pairs.quantity, len(pairs.a))
    return QuantityDifferences(
        quantity=pairs.quantity,
        compared=len(pairs.a),
        differing=len(positions),
        first=pairs.difference(positions[0]),
        greatest=pairs.greatest(positions),
    )


def _growth(
    pairs: Sequence[NumberPairs], quantities: Sequence[QuantityDifferences], result: str
) -> Iterator[Difference]:
    first = _first(quantities)
    if first is None:
        return
    differing = {quantity.quantity for quantity in quantities if quantity.differing}
    followed = result if result in differing else first.quantity
    chosen = next(pair for pair in pairs if pair.quantity == followed)
    begin, end = first.step, chosen.steps[-1]
    for row, step in enumerate(chosen.steps):
        if step >= begin and (step in GROWTH_STEPS or step in (begin, end)):
            yield chosen.greatest(chosen.positions(row))


def _first(quantities: Sequence[QuantityDifferences]) -> Difference | None:
    firsts = [quantity.first for quantity in quantities if quantity.first is not None]
    return min(firsts, key=lambda difference: difference.step, default=None)


def _bits(values: Numbers) -> array[int]:
    """Return the bits of each number as an integer: 0 and −0 are unequal, as are NaN and no other."""
    return array("q", values.tobytes())


def _gap(a: float, b: float) -> float:
    if a == b or (a != a and b != b):
        return 0.0
    gap = abs(a - b)
    return gap if gap == gap else math.inf
