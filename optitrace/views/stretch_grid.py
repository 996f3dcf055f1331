"""The table of a long training: each row is a stretch of its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from optitrace.records.quantity import Quantity
from optitrace.records.trace import Column
from optitrace.records.training import KINDS, OptimizerTrace
from optitrace.text import listed
from optitrace.views.display import Display
from optitrace.views.grid import Grid, GridColumn, Shown, grid_of
from optitrace.views.statistics import greatest, last, least, mean, median
from optitrace.views.training_columns import (
    are_alike,
    rate_columns,
    requested_columns,
    says_nothing,
    shown_rate,
    significant,
)
from optitrace.views.training_summary import summary_lines

STRETCHES = 30
"""How many rows such a table has."""

MOST_RATE_DIGITS = 3
"""How many significant digits the lr has, so that the table fits 80 characters; the summary has all."""

Stretch = range
"""The rows of the record that are one row of the table."""

Statistic = Callable[[Sequence[float]], float]
"""What a stretch has of its numbers, of which there is one at least."""

STATISTICS: Mapping[str, Sequence[tuple[tuple[str, str], Statistic]]] = {
    "loss": ((("loss", "mean"), mean), (("loss", "min"), least), (("loss", "max"), greatest)),
    "gradient_norm": ((("gradient", "max"), greatest),),
    "unclipped_gradient_norm": ((("unclipped", "max"), greatest),),
    "backwards": ((("backwards", "max"), greatest),),
    "evaluations": ((("evaluations", "max"), greatest),),
    "largest_loss": ((("largest", "loss"), greatest),),
    "last_loss": ((("last", "loss"), last),),
    "update_ratio": ((("update", "/ weight"), median),),
}
"""The headings of what a stretch has of each quantity, and how that is computed.

The lr and the kind of the gradient have columns of their own; other quantities have none."""


def stretch_grid(optimizer: OptimizerTrace, display: Display) -> Grid:
    """Return a grid with a row for each stretch of steps, and a summary of all below it.

    Where groups have different learning rates, those of the last step stand for a stretch, as for what else
    was asked for.
    """
    stretches, lasts = _divided(len(optimizer.steps)), requested_columns(optimizer, display)
    columns: list[GridColumn] = []
    for quantity in optimizer.recorded:
        if quantity.name == "lr":
            rates, rows = optimizer.columns["lr"], range(len(optimizer.steps))
            if are_alike(rates, rows):
                columns += _rates(rates, stretches, display)
            else:
                lasts = [*rate_columns(rates, rows, display), *lasts]
        elif quantity.words and not says_nothing(optimizer, quantity):
            columns.append(_column((quantity.name, ""), stretches, lambda s: _kinds(optimizer, s)))
        elif quantity.name == "gradient_norm" and _is_clipped(optimizer):
            continue
        elif not quantity.words and not says_nothing(optimizer, quantity):
            columns += _statistics(optimizer, quantity, stretches, significant(display))
    grid = _grid(optimizer, columns, lasts, display)
    (note,) = grid.notes
    note += "; update / weight is their median; --all shows every step, --from and --to a range of them"
    return replace(grid, notes=[note, *summary_lines(optimizer, display)])


def last_of_stretches(optimizer: OptimizerTrace, columns: Sequence[GridColumn], display: Display) -> Grid:
    """Return a grid of columns with a row for the last step of each stretch."""
    return _grid(optimizer, [], columns, display)


def _divided(count: int) -> list[Stretch]:
    """Return so many rows in stretches of nearly the same length."""
    bounds = [count * k // STRETCHES for k in range(STRETCHES + 1)]
    return [range(a, b) for a, b in pairwise(bounds)]


def _grid(
    optimizer: OptimizerTrace, columns: Sequence[GridColumn], lasts: Sequence[GridColumn], display: Display
) -> Grid:
    """Return the grid of columns of stretches, and of columns of steps of which the last one is shown."""
    steps, stretches = optimizer.steps, _divided(len(optimizer.steps))
    named = _column(("steps", ""), stretches, lambda s: f"{steps[s[0]]}-{steps[s[-1]]}")
    at_last = [_at_last(column, stretches) for column in lasts]
    grid = grid_of([named, *columns, *at_last], STRETCHES, display)
    sizes = " or ".join(f"{size:,}" for size in sorted(set(map(len, stretches))))
    is_every = steps[-1] - steps[0] + 1 == len(steps)
    note = f"each row is {sizes} {'steps' if is_every else 'recorded steps'}"
    if lasts:
        names = list(dict.fromkeys(column.heading[0] for column in lasts))
        note += f"; {listed(names)} {'is that' if len(names) == 1 else 'are those'} of the last"
    return replace(grid, notes=[note])


def _at_last(column: GridColumn, stretches: Sequence[Stretch]) -> GridColumn:
    return replace(column, texts=lambda rows: column.texts([stretches[row][-1] for row in rows]))


def _is_clipped(optimizer: OptimizerTrace) -> bool:
    """Return whether every gradient is known as it was before it was clipped, which tells more."""
    unclipped = optimizer.columns.get("unclipped_gradient_norm")
    return unclipped is not None and unclipped.first == 0


def _column(
    heading: tuple[str, str], stretches: Sequence[Stretch], text: Callable[[Stretch], str]
) -> GridColumn:
    return GridColumn(heading, heading[0], lambda rows: [text(stretches[row]) for row in rows])


def _statistics(
    optimizer: OptimizerTrace, quantity: Quantity, stretches: Sequence[Stretch], show: Shown
) -> list[GridColumn]:
    """Return the columns of a quantity, one for each of its statistics; empty where it has no number."""

    def text(compute: Statistic, stretch: Stretch) -> str:
        numbers = [x for row in stretch for x in optimizer.numbers(quantity.name, row) or ()]
        if not numbers:
            return ""
        found = compute(numbers)
        return str(int(found)) if quantity.counts and math.isfinite(found) else show(found)

    return [
        _column(heading, stretches, partial(text, compute))
        for heading, compute in STATISTICS.get(quantity.name, ())
    ]


def _rates(rates: Column, stretches: Sequence[Stretch], display: Display) -> list[GridColumn]:
    """Return the column of an lr that does not change within a stretch, or its least and greatest."""
    show = shown_rate(replace(display, precision=min(display.precision, MOST_RATE_DIGITS)))
    found = {s: [lr for row in s for lr in rates.row(row) or ()] for s in stretches}

    def text(compute: Statistic, stretch: Stretch) -> str:
        return show(compute(found[stretch])) if found[stretch] else ""

    if all(len(set(lrs)) <= 1 for lrs in found.values()):
        return [_column(("lr", ""), stretches, partial(text, last))]
    return [
        _column(("lr", name), stretches, partial(text, compute))
        for name, compute in (("min", least), ("max", greatest))
    ]


def _kinds(optimizer: OptimizerTrace, stretch: Stretch) -> str:
    """Return the kind that all steps of a stretch have, or how many have the most frequent odd one."""
    kinds = [optimizer.kind(row) for row in stretch]
    if len(set(kinds)) == 1:
        return kinds[0]
    odd = [kind for kind in kinds if kind != "fresh"]
    most = max(KINDS, key=odd.count)
    return f"{odd.count(most)} {most}"
