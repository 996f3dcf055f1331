"""The differences of two runs: where they part, in what, by how much, and how that grows."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from optitrace.analysis.number_pairs import Difference, NumberPairs
from optitrace.analysis.tolerance import EXACT, Tolerance
from optitrace.records.selection import select_rows
from optitrace.records.trace import Column, Trace
from optitrace.text.number_format import counted

GROWTH_STEPS = frozenset(factor * 10**power for power in range(18) for factor in (1, 2, 5))
"""The steps at which the growth of a difference is told: 1, 2, 5, 10, 20, 50 and so on."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """What is compared of a run.

    Attributes:
        steps: the step of each row.
        columns: what is compared, by name, in the order in which a step has it.
        result: the name of the column that a step ends with.
        dtype: the dtype of the run.
        last: what is compared of the last step alone.
        optional: the columns that are recorded only where they are asked for.
        taken: how many steps were taken, recorded or not; the last recorded one if not given.
    """

    steps: Sequence[int]
    columns: Mapping[str, Column]
    result: str
    dtype: str
    last: Mapping[str, Column] = field(default_factory=dict)
    optional: Set[str] = frozenset()
    taken: int | None = None

    @property
    def last_step(self) -> int:
        """The last step; 0 if there is none."""
        if self.taken is not None:
            return self.taken
        return self.steps[-1] if self.steps else 0

    @property
    def recorded(self) -> int:
        """How many steps have a row; row 0 is the start."""
        return sum(step > 0 for step in self.steps)


@dataclass(frozen=True, slots=True)
class QuantityDifferences:
    """How two traces differ in one quantity.

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
    """A quantity that two traces do not have alike.

    Attributes:
        quantity: its name.
        a: what the first trace has, in words; empty if it has none.
        b: what the second has.
    """

    quantity: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Differences:
    """All that distinguishes the numbers of two runs A and B.

    Attributes:
        tolerance: up to where numbers count as the same.
        last_steps: the last step of each.
        recorded: of how many steps each has a row.
        compared: how many steps both have a row of.
        compared_to: the last of those; 0 if there is none.
        quantities: what both have, in the order in which a step has it.
        incomparable: what they do not have alike.
        only: what A alone was asked to record, and what B alone was; it is no difference.
        growth: the greatest difference at some of the steps from the first difference on: of the
            weights, the result of each step, if they differ, or else of the quantity that differs first.
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

    @property
    def first(self) -> Difference | None:
        """The first difference: of the earliest step, and there of the first quantity."""
        return _first(self.quantities)

    @property
    def are_same(self) -> bool:
        """Whether nothing differs, nothing is missing, and both end at one step."""
        return self.first is None and not self.incomparable and len(set(self.last_steps)) == 1


def diff(a: Trace, b: Trace, tolerance: Tolerance = EXACT) -> Differences:
    """Compare two traces number by number, at the steps that both have."""
    return diff_runs(_compared(a), _compared(b), tolerance)


def diff_runs(a: ComparedRun, b: ComparedRun, tolerance: Tolerance) -> Differences:
    """Compare what was recorded of two runs number by number, at the steps that both have."""
    last_steps, recorded = (a.last_step, b.last_step), (a.recorded, b.recorded)
    if a.steps != b.steps:
        common = set(a.steps) & set(b.steps)
        a, b = _at_steps(a, common), _at_steps(b, common)
    only = _only(a, b), _only(b, a)
    columns, incomparable = _matched(_without(a, only[0]), _without(b, only[1]))
    dtypes = a.dtype, b.dtype
    pairs = [_paired(name, *both, a.steps, dtypes) for name, both in columns.items()]
    if last_steps[0] == last_steps[1]:
        pairs += [_paired(name, a.last[name], b.last[name], a.steps[-1:], dtypes) for name in a.last]
    quantities = [_compare(pair, tolerance) for pair in pairs]
    return Differences(
        tolerance=tolerance,
        last_steps=last_steps,
        recorded=recorded,
        compared=a.recorded,
        compared_to=a.steps[-1] if a.steps else 0,
        quantities=tuple(quantities),
        incomparable=tuple(incomparable),
        only=only,
        growth=tuple(_growth(pairs, quantities, a.result)),
    )


def _compared(trace: Trace) -> ComparedRun:
    """Return what is compared of a trace, in the order in which a step has it: the weights are its result."""
    used = {name: column for name, column in trace.columns.items() if name != "weights"}
    state = {f"state {name}" if name in trace.columns else name: c for name, c in trace.state.items()}
    return ComparedRun(
        steps=trace.steps,
        columns={**used, **state, "weights": trace.weights},
        result="weights",
        dtype=trace.experiment.dtype,
        last={"final_loss": Column(array("d", [trace.final_loss]), ())},
    )


def _at_steps(run: ComparedRun, wanted: Set[int]) -> ComparedRun:
    rows = [row for row, step in enumerate(run.steps) if step in wanted]
    columns = {name: select_rows(column, rows) for name, column in run.columns.items()}
    return replace(run, steps=[run.steps[row] for row in rows], columns=columns)


def _only(run: ComparedRun, other: ComparedRun) -> tuple[str, ...]:
    """Return the columns that just one of two runs was asked to record."""
    return tuple(name for name in run.columns if name in run.optional and name not in other.columns)


def _without(run: ComparedRun, names: Sequence[str]) -> ComparedRun:
    return replace(run, columns={name: c for name, c in run.columns.items() if name not in names})


def _matched(a: ComparedRun, b: ComparedRun) -> tuple[dict[str, tuple[Column, Column]], list[Incomparable]]:
    """Return the columns that can be compared, by name, and what cannot be, or not from the beginning."""
    matched = {}
    incomparable = []
    for name in dict.fromkeys((*a.columns, *b.columns)):
        mine, theirs = a.columns.get(name), b.columns.get(name)
        if mine is None or theirs is None or mine.shape != theirs.shape:
            incomparable.append(Incomparable(name, _form(mine), _form(theirs)))
        else:
            matched[name] = (mine, theirs)
            if mine.first != theirs.first:
                begins = [_begin(run.steps, column) for run, column in ((a, mine), (b, theirs))]
                incomparable.append(Incomparable(name, *begins))
    result = matched.pop(a.result, None)
    return {**matched, **({a.result: result} if result else {})}, incomparable


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
