"""What a sweep found, in words and cells, however it is then laid out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optitrace.analysis.sweeping.axis import Range, SweptAxis
from optitrace.analysis.sweeping.ranking import Candidate
from optitrace.analysis.sweeping.sweep import SweepResult
from optitrace.rules.hyperparameter import Value, show
from optitrace.text import format_number, format_significant
from optitrace.views.wording import subtitle

HEADINGS = {"final_loss": "final loss", "steps": "steps", "distance": "distance", "path": "path"}
"""What a measure is called over its column."""


@dataclass(frozen=True, slots=True)
class SweepCells:
    """A table before it is laid out.

    Attributes:
        headings: over the columns; empty if nothing was finished.
        rows: the cells.
        numbers: the headings of the columns that hold numbers.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[str]


NOTHING = "no configuration was finished"
"""What is said in the place of a table that would be empty."""


def heading(sweeps: Sequence[SweepResult]) -> list[str]:
    """Return what was swept, in lines; of several optimizers what they share."""
    space = sweeps[0].space
    steps = f"{space.base.steps} step{'' if space.base.steps == 1 else 's'} each"
    drawn = "" if space.samples is None else f", drawn with seed {space.seed}"
    lines = [
        f"{space.base.optimizer}: {space.size:,} configuration{'' if space.size == 1 else 's'}, {steps}",
        subtitle(space.base),
        f"over {', '.join(varied(axis) for axis in space.axes)}{drawn}",
    ]
    return lines if len(sweeps) == 1 else lines[1:]


def cells(sweeps: Sequence[SweepResult], precision: int) -> SweepCells:
    """Return the best configurations of a sweep; of several the best of each."""
    return _ranking(sweeps[0], precision) if len(sweeps) == 1 else _best_of_each(sweeps, precision)


def closing(sweeps: Sequence[SweepResult], commands: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield what came of the configurations, line by line, each with whether it may be folded.

    Args:
        sweeps: one for each optimizer.
        commands: for each, the command that traces its best configuration; empty if there is none.
    """
    for sweep, command in zip(sweeps, commands, strict=True):
        name = f"{sweep.space.base.optimizer}: " if len(sweeps) > 1 else ""
        for line in closing_lines(sweep):
            yield name + line, True
        if command:
            yield f"best: {command}", False


def varied(axis: SweptAxis) -> str:
    """Return what an axis runs over, in words.

    >>> varied(SweptAxis("lr", "lr", None, Range(1e-4, 1.0, 200, logarithmic=True)))
    'lr from 0.0001 to 1 in 200 log-spaced values'
    >>> varied(SweptAxis("nesterov", "nesterov", None, (True, False)))
    'nesterov true or false'
    """
    if not isinstance(axis.values, Range):
        values = [show(value) for value in axis.values]
        shown = [*values[:3], "…", values[-1]] if len(values) > 5 else values
        return f"{axis.name} {' or '.join(shown)}"
    spacing = "log-spaced" if axis.values.logarithmic else "evenly spaced"
    ends = f"{axis.name} from {show(axis.values.first)} to {show(axis.values.last)}"
    return f"{ends} in {axis.values.count:,} {spacing} values" if axis.values.count else ends


def spot_check_line(sweep: SweepResult) -> str | None:
    """Return how the configurations that torch traced agree with the sweep; None if none was traced."""
    if sweep.checks is None:
        return None
    agreeing = [check for check in sweep.checks if check.agrees]
    worst = max(check.ulps for check in sweep.checks)
    name = sweep.space.base.entry.class_path
    line = f"spot check: {len(agreeing)} of {len(sweep.checks)} agree with {name}, worst {_ulps(worst)} ulp"
    if any(check.growth > 1 for check in agreeing):
        line += ", where one ulp at the start grows as large"
    if len(agreeing) < len(sweep.checks):
        line += "; --dtype float64 shows whether rounding decides"
    return line


def _ulps(ulps: float) -> str:
    return f"{math.ceil(ulps):,}" if math.isfinite(ulps) else "infinitely many"


def _ranking(sweep: SweepResult, precision: int) -> SweepCells:
    if not sweep.best:
        return SweepCells([], [], [])
    names = [axis.name for axis in sweep.space.axes]
    measures = _measures(sweep)
    headings = ["rank", *names, *(HEADINGS[name] for name in measures)]
    rows = [
        [str(rank), *_row(candidate, names, measures, precision)]
        for rank, candidate in enumerate(sweep.best, start=1)
    ]
    return SweepCells(headings, rows, headings)


def _best_of_each(sweeps: Sequence[SweepResult], precision: int) -> SweepCells:
    finished = [sweep for sweep in sweeps if sweep.best]
    if not finished:
        return SweepCells([], [], [])
    names = [axis.name for axis in finished[0].space.axes]
    measures = _measures(finished[0])
    numbers = [*names, *(HEADINGS[name] for name in measures)]
    finished.sort(key=lambda sweep: sweep.best[0].merit(sweep.goal.rank))
    rows = [
        [sweep.space.base.optimizer, *_row(sweep.best[0], names, measures, precision)] for sweep in finished
    ]
    return SweepCells(["best of", *numbers], rows, numbers)


def _row(candidate: Candidate, names: Sequence[str], measures: Sequence[str], precision: int) -> list[str]:
    values = (_short(candidate.configuration[name]) for name in names)
    return [*values, *(_measure(name, candidate, precision) for name in measures)]


def _measures(sweep: SweepResult) -> list[str]:
    """Return the names of what was measured, what is ranked by first."""
    known = [name for name in HEADINGS if name in sweep.best[0].measures]
    return sorted(known, key=lambda name: name != sweep.goal.rank)


def closing_lines(sweep: SweepResult) -> Iterator[str]:
    """Yield what came of the configurations, and what torch says of the best."""
    counts = sweep.counts
    if not sweep.is_complete:
        yield f"interrupted: {sweep.finished:,} of {sweep.space.size:,} configurations are finished"
    near = f" (final loss within {sweep.goal.tolerance:g} of the minimum)"
    yield (
        f"{counts['converged']:,} converged{near if sweep.space.minima else ''}, "
        f"{counts['on the way']:,} not converged, {counts['diverged']:,} diverged"
    )
    if sweep.tied > 1:
        tied = f"{sweep.tied:,} settings tie at {HEADINGS[sweep.goal.rank]} {_best_value(sweep)}"
        yield f"{tied}; they are ranked by {_tie_breakers(sweep)}"
    if (line := spot_check_line(sweep)) is not None:
        yield line


def _best_value(sweep: SweepResult) -> str:
    value = sweep.best[0].measures[sweep.goal.rank]
    return str(int(value)) if sweep.goal.rank == "steps" else format_significant(value, 4)


def _tie_breakers(sweep: SweepResult) -> str:
    """Return what settings that tie are ranked by, in its order."""
    breakers = {"final_loss": "final loss"}
    if sweep.space.minima:
        breakers |= {"distance": "distance", "steps": "steps to tolerance"}
    breakers.pop(sweep.goal.rank, None)
    return ", then ".join([*breakers.values(), "smaller lr"])


def _short(value: Value) -> str:
    """Return a value in at most six digits; the command below the table has all of them."""
    return f"{value:.6g}" if isinstance(value, float) else show(value)


def _measure(name: str, candidate: Candidate, precision: int) -> str:
    value = candidate.measures[name]
    if name == "steps" and math.isfinite(value):
        return str(int(value))
    if value == math.inf and name in ("steps", "path"):
        return "not reached"
    return format_number(value, precision) if value else "0"
