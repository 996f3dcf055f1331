"""The table of the parameters of an optimizer: a row for each, over all recorded steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optitrace.records.trace import Numbers
from optitrace.records.training import OF_A_PARAMETER, OptimizerTrace, WatchedParameter
from optitrace.text import tallied
from optitrace.views.display import Display
from optitrace.views.grid import Grid, GridColumn, grid_of
from optitrace.views.statistics import greatest, least, median
from optitrace.views.training_columns import significant

MOST_PARAMETERS = 40
"""How many parameters such a table has, the most unusual ones first."""


def parameter_grid(optimizer: OptimizerTrace, display: Display) -> Grid:
    """Return a grid with a row for each parameter, the most unusual ones first."""
    courses = _courses(optimizer)
    order = sorted(range(len(courses)), key=_by_oddness(courses).__getitem__)
    rows, show = order[:MOST_PARAMETERS], significant(display)

    def of_each(heading: tuple[str, str], text: Callable[[_Course], str]) -> GridColumn:
        return GridColumn(heading, heading[0], lambda rows: [text(courses[row]) for row in rows])

    columns = [
        of_each(("parameter", ""), lambda c: f"{c.parameter.name}{' (frozen)' * c.parameter.is_frozen}"),
        of_each(("zero", "updates"), lambda c: _percent(c.share_of_zeros)),
        of_each(("gradient", "median"), lambda c: show(median(c.gradients))),
        of_each(("ratio", "median"), lambda c: show(median(c.ratios))),
        of_each(("ratio", "min"), lambda c: show(least(c.ratios))),
        of_each(("ratio", "max"), lambda c: show(greatest(c.ratios))),
        of_each(("weight", "first"), lambda c: show(c.weights[0])),
        of_each(("weight", "last"), lambda c: show(c.weights[-1])),
    ]
    steps = tallied(len(optimizer.steps), "step")
    notes = [
        f"each row is a parameter over {steps}, the most unusual first; gradient and weight are norms, "
        "ratio is update / weight; --params --all shows every step"
    ]
    if hidden := len(courses) - len(rows):
        notes.append(f"{tallied(hidden, 'less unusual parameter')} {'is' if hidden == 1 else 'are'} hidden")
    grid = grid_of(columns, len(rows), display, rows=rows)
    return replace(grid, words=(0,), notes=notes)


@dataclass(frozen=True, slots=True)
class _Course:
    """A parameter over the recorded steps, with the quantities `OF_A_PARAMETER`."""

    parameter: WatchedParameter
    gradients: Numbers
    updates: Numbers
    weights: Numbers
    ratios: Numbers

    @property
    def share_of_zeros(self) -> float:
        """In which share of the steps the update is zero."""
        return sum(update == 0 for update in self.updates) / len(self.updates)


def _courses(optimizer: OptimizerTrace) -> list[_Course]:
    count, each = len(optimizer.recorded_parameters), optimizer.by_parameter

    def numbers(name: str, place: int) -> Numbers:
        return each[name].values[place::count]

    return [
        _Course(parameter, *(numbers(name, k) for name in OF_A_PARAMETER))
        for k, parameter in enumerate(optimizer.parameters[:count])
    ]


def _by_oddness(courses: Sequence[_Course]) -> list[tuple[float, ...]]:
    """Return the place of each parameter among all: frozen ones last, first those that are not finite.

    Then come those with the most updates that are zero, then those whose update / weight is the farthest from
    the median of all, as a ratio.
    """
    middles = [median(course.ratios) for course in courses]
    usual = median([math.log(x) for x in middles if 0 < x < math.inf] or [0.0])
    return [
        (
            course.parameter.is_frozen,
            all(map(math.isfinite, (*course.gradients, *course.weights))),
            -course.share_of_zeros,
            -abs(math.log(middle) - usual) if 0 < middle < math.inf else 0.0,
        )
        for course, middle in zip(courses, middles, strict=True)
    ]


def _percent(share: float) -> str:
    """Return a share in percent; only what is none or all is called so."""
    if share in (0, 1):
        return f"{share:.0%}"
    return f"{min(max(share, 0.001), 0.999):.1%}"
