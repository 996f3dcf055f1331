"""The numbers beside a moving picture: those of the step that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from optitrace.analysis.comparison import losses_after
from optitrace.records.trace import NamedTrace, Trace
from optitrace.text.number_format import format_number
from optitrace.views.fields import few_fields
from optitrace.views.grid import Look, make_grid


@dataclass(frozen=True, slots=True)
class Numbers:
    """What stands beside each step.

    Attributes:
        headings: for each number the section it is in, and its name.
        rows: for each step its numbers as text, empty where there is none.
    """

    headings: Sequence[tuple[str, str]]
    rows: Mapping[int, Sequence[str]]


def trace_numbers(trace: Trace, steps: Sequence[int], precision: int) -> Numbers:
    """Return the numbers of a run, as its table has them: what a step used, and what it led to.

    Args:
        trace: the run.
        steps: the steps to be shown.
        precision: decimals of each number.
    """
    grid = make_grid(trace.at_steps(steps), Look(precision=precision, state=True, all_rows=True))
    led_to = {quantity.name: "after the step" for quantity in trace.recorded if quantity.is_left}
    led_to |= dict.fromkeys(trace.state, "state after the step")
    headings = [
        (led_to.get(quantity, "used by the step"), f"{quantity} {weight.replace('state', '')}".strip())
        for quantity, weight in islice(grid.headings, 1, None)
    ]
    at = next(k for k, (section, _) in enumerate(headings) if section == "after the step")
    losses = dict(losses_after(trace))
    rows = {}
    for step, *cells in grid.rows:
        loss = losses.get(int(step))
        after = "" if loss is None else format_number(loss, precision)
        rows[int(step)] = [*cells[:at], after, *cells[at:]]
    return Numbers([*headings[:at], ("after the step", "loss"), *headings[at:]], rows)


def compare_numbers(runs: Sequence[NamedTrace], steps: Sequence[int], precision: int) -> Numbers:
    """Return the loss and the weights of several runs after each step.

    Args:
        runs: the runs.
        steps: the steps to be shown.
        precision: decimals of each number.
    """
    headings: list[tuple[str, str]] = []
    rows: dict[int, list[str]] = {step: [] for step in steps}
    for run in runs:
        weights = few_fields("weights", run.trace.weights)
        headings += [(run.name, "loss"), *((run.name, " ".join(field.heading)) for field in weights)]
        losses = dict(losses_after(run.trace))
        place = {step: row for row, step in enumerate(run.trace.steps)}
        for step, cells in rows.items():
            row = place.get(step)
            values = [losses.get(step), *(None if row is None else f.value(row) for f in weights)]
            cells += ["" if value is None else format_number(value, precision) for value in values]
    return Numbers(headings, rows)
