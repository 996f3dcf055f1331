"""The differences of two traces: where they part, in what, by how much, and how that grows."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from optitrace.analysis.number_pairs import Difference, NumberPairs
from optitrace.analysis.tolerance import EXACT, Tolerance
from optitrace.rules.numerals import counted
from optitrace.tracing.selection import at_steps
from optitrace.tracing.trace import Column, Trace

GROWTH_STEPS = frozenset(factor * 10**power for power in range(18) for factor in (1, 2, 5))
"""The steps at which the growth of a difference is told: 1, 2, 5, 10, 20, 50 and so on."""


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
    """All that distinguishes the numbers of two traces A and B.

    Attributes:
        tolerance: up to where numbers count as the same.
        last_steps: the last step of each.
        compared_to: the last step that both have.
        quantities: what both have, in the order in which a step has it.
        incomparable: what they do not have alike.
        growth: the greatest difference at some of the steps from the first difference on: of the
            weights if they differ, or else of the quantity that differs first.
    """

    tolerance: Tolerance
    last_steps: tuple[int, int]
    compared_to: int
    quantities: tuple[QuantityDifferences, ...]
    incomparable: tuple[Incomparable, ...]
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
    last_steps = a.steps[-1], b.steps[-1]
    final_losses = {"final_loss": (_scalar(a.final_loss), _scalar(b.final_loss))}
    a, b = _at_common_steps(a, b)
    columns, incomparable = _matched(a, b)
    dtypes = a.experiment.dtype, b.experiment.dtype
    pairs = [_paired(name, *both, a.steps, dtypes) for name, both in columns.items()]
    if last_steps[0] == last_steps[1]:
        pairs += [_paired(name, *both, a.steps[-1:], dtypes) for name, both in final_losses.items()]
    quantities = [_compare(pair, tolerance) for pair in pairs]
    return Differences(
        tolerance=tolerance,
        last_steps=last_steps,
        compared_to=a.steps[-1],
        quantities=tuple(quantities),
        incomparable=tuple(incomparable),
        growth=tuple(_growth(pairs, quantities)),
    )


def _at_common_steps(a: Trace, b: Trace) -> tuple[Trace, Trace]:
    if a.steps == b.steps:
        return a, b
    common = set(a.steps) & set(b.steps)
    return at_steps(a, common), at_steps(b, common)


def _matched(a: Trace, b: Trace) -> tuple[dict[str, tuple[Column, Column]], list[Incomparable]]:
    """Return the columns that can be compared, by name, and what cannot be, or not from the beginning."""
    columns, others = _columns(a), _columns(b)
    matched = {}
    incomparable = []
    for name in dict.fromkeys((*columns, *others)):
        mine, theirs = columns.get(name), others.get(name)
        if mine is None or theirs is None or mine.shape != theirs.shape:
            incomparable.append(Incomparable(name, _form(mine), _form(theirs)))
        else:
            matched[name] = (mine, theirs)
            if mine.first != theirs.first:
                begins = [f"values from step {t.steps[c.first]} on" for t, c in ((a, mine), (b, theirs))]
                incomparable.append(Incomparable(name, *begins))
    weights = matched.pop("weights", None)
    return {**matched, **({"weights": weights} if weights else {})}, incomparable


def _columns(trace: Trace) -> Mapping[str, Column]:
    """Return the columns by name, in the order in which a step has them: the weights are its result."""
    used = {name: column for name, column in trace.columns.items() if name != "weights"}
    state = {f"state {name}" if name in trace.columns else name: c for name, c in trace.state.items()}
    return {**used, **state, "weights": trace.weights}


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


def _growth(pairs: Sequence[NumberPairs], quantities: Sequence[QuantityDifferences]) -> Iterator[Difference]:
    first = _first(quantities)
    if first is None:
        return
    differing = {quantity.quantity for quantity in quantities if quantity.differing}
    followed = "weights" if "weights" in differing else first.quantity
    chosen = next(pair for pair in pairs if pair.quantity == followed)
    begin, end = first.step, chosen.steps[-1]
    for row, step in enumerate(chosen.steps):
        if step >= begin and (step in GROWTH_STEPS or step in (begin, end)):
            yield chosen.greatest(chosen.positions(row))


def _first(quantities: Sequence[QuantityDifferences]) -> Difference | None:
    firsts = [quantity.first for quantity in quantities if quantity.first is not None]
    return min(firsts, key=lambda difference: difference.step, default=None)


def _scalar(value: float) -> Column:
    return Column(array("d", [value]), ())
