"""The differences of what two runs recorded: in words, as tables, and as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from optitrace.analysis.differences import Differences
from optitrace.analysis.number_pairs import Difference
from optitrace.analysis.tolerance import Tolerance
from optitrace.text.number_format import LARGEST_FIXED, counted
from optitrace.views.display import Display
from optitrace.views.tables import headed_table


@dataclass(frozen=True, slots=True)
class Naming:
    """What the numbers of a run are called.

    Attributes:
        quantity: the name of a quantity.
        owner: what a number of several belongs to; empty if it is one alone.
        place: where a number stands, in a sentence.
        heading: what owners are.
        words: the quantities whose numbers stand for words, in order, with these words.
    """

    quantity: Callable[[str], str]
    owner: Callable[[Difference], str]
    place: Callable[[Difference], str]
    heading: str
    words: tuple[str, Sequence[str]] = ("", ())

    def number(self, difference: Difference, value: float) -> str:
        """Return a number with all its digits, or the word that it stands for."""
        return self.words[1][int(value)] if self.is_word(difference) else repr(value)

    def is_word(self, difference: Difference) -> bool:
        """Return whether the numbers of a difference stand for words."""
        return difference.quantity == self.words[0]


def verdict(differences: Differences, naming: Naming) -> str:
    """Return whether two runs are the same, or where they part."""
    first = differences.first
    if first is not None:
        return f"A and B differ first at step {first.step}, in {naming.place(first)}:"
    count = sum(quantity.compared for quantity in differences.quantities)
    same = f"the same {within(differences.tolerance)}"
    shorter, longer = sorted(differences.last_steps)
    if longer and not count:
        return "A and B have no step in common"
    if shorter < longer:
        name = "AB"[differences.last_steps.index(longer)]
        return f"A and B are {same} up to step {shorter}, where one ends; {name} goes on to step {longer}"
    if differences.incomparable or any(differences.only):
        return f"what both have is {same}: {count} numbers in {counted(differences.compared, 'step')}"
    return f"A and B are {same}: {count} numbers in {counted(differences.compared, 'step')}"


def incomparable_lines(differences: Differences, naming: Naming) -> Iterator[str]:
    """Yield what only one of the runs has, and what both have in different forms."""
    quantities = differences.incomparable
    for letter, other, recorded in zip("AB", "ba", differences.only, strict=True):
        missing = [q.quantity for q in quantities if not getattr(q, other)]
        if only := [naming.quantity(name) for name in (*missing, *recorded)]:
            yield f"only {letter} has {', '.join(only)}"
    if len(set(differences.recorded)) > 1 and len(set(differences.last_steps)) == 1:
        a, b = differences.recorded
        yield f"A has {counted(a, 'recorded step')} and B {b}; {differences.compared} are compared"
    for quantity in quantities:
        if quantity.a and quantity.b:
            yield f"{naming.quantity(quantity.quantity)}: A has {quantity.a} and B {quantity.b}"


def number_lines(first: Difference, precision: int, naming: Naming) -> Iterator[str]:
    """Yield the two numbers of a difference, and how far apart they are."""
    yield f"  A  {naming.number(first, first.a)}"
    yield f"  B  {naming.number(first, first.b)}"
    if naming.is_word(first):
        return
    if first.a == first.b:
        yield "  the same number but for the sign of zero"
    elif math.isfinite(first.ulps):
        count = _ulps(first.ulps)
        unit = f"ulp{'' if count == '1' else 's'} of {first.dtype}"
        yield f"  {_size(first, precision)} apart, {count} {unit}"


def difference_tables(differences: Differences, naming: Naming, display: Display) -> list[RenderableType]:
    """Return how the difference goes on, and the greatest of each quantity; nothing if none differs."""
    parts: list[RenderableType] = []
    if differences.first is None:
        return parts
    growth = differences.growth
    if len(growth) > 1 and not naming.is_word(growth[0]):
        followed = naming.quantity(growth[0].quantity)
        headings = ["step", "difference", "ulps"]
        rows = [[str(d.step), _size(d, display.precision), _ulps(d.ulps)] for d in growth]
        table = headed_table(headings, rows, display, numbers=headings)
        parts += [Text(), Text(display.spell(f"how the difference of {followed} goes on:")), Text(), table]
    headings = ["quantity", "differ", "greatest", "ulps", "step", naming.heading]
    rows = _greatest(differences, naming, display.precision)
    table = headed_table(headings, rows, display, numbers=headings[1:])
    return [*parts, Text(), Text("the greatest difference of each quantity:"), Text(), table]


def differences_data(
    differences: Differences, number_data: Callable[[Difference], dict[str, Any]]
) -> dict[str, Any]:
    """Return differences as data; `number_data` says what there is to say of one."""

    def number(difference: Difference | None) -> dict[str, Any] | None:
        return None if difference is None else number_data(difference)

    return {
        "tolerance": asdict(differences.tolerance),
        "compared_to": differences.compared_to,
        "first": number(differences.first),
        "growth": [number(difference) for difference in differences.growth],
        "quantities": [
            {
                "quantity": quantity.quantity,
                "compared": quantity.compared,
                "differing": quantity.differing,
                "first": number(quantity.first),
                "greatest": number(quantity.greatest),
            }
            for quantity in differences.quantities
        ],
        "incomparable": [asdict(incomparable) for incomparable in differences.incomparable],
        "only_recorded_a": list(differences.only[0]),
        "only_recorded_b": list(differences.only[1]),
    }


def within(tolerance: Tolerance) -> str:
    """Return how far apart numbers may be that count as the same."""
    if tolerance.is_exact:
        return "bit for bit"
    allowed = (
        [f"rtol {tolerance.rtol:g}, atol {tolerance.atol:g}"] if tolerance.rtol or tolerance.atol else []
    )
    allowed += [f"{_ulps(tolerance.ulps)} ulp"] if tolerance.ulps else []
    return f"within {' or '.join(allowed)}"


def _greatest(differences: Differences, naming: Naming, precision: int) -> list[list[str]]:
    """Return a row for each quantity: how much of it differs, and the greatest difference."""
    rows = []
    for quantity in differences.quantities:
        row = [naming.quantity(quantity.quantity), f"{quantity.differing} of {quantity.compared}"]
        greatest = quantity.greatest
        if greatest is not None and naming.is_word(greatest):
            row += ["", "", str(greatest.step)]
        elif greatest is not None:
            row += [_size(greatest, precision), _ulps(greatest.ulps), str(greatest.step)]
            row.append(naming.owner(greatest))
        rows.append(row + [""] * (6 - len(row)))
    return rows


def _size(difference: Difference, precision: int) -> str:
    return f"{difference.size:.{max(precision, 1)}g}"


def _ulps(count: float) -> str:
    """Return a number of units in the last place, a small part of one to two digits."""
    if not math.isfinite(count):
        return "–"
    return f"{count:.0f}" if 10 <= count < LARGEST_FIXED else f"{count:.2g}"
