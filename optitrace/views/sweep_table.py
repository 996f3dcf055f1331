"""What a sweep found, for a person: the picture, the best configurations, and what torch says of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.sweeping.axis import Axis, Range
from optitrace.analysis.sweeping.ranking import Candidate
from optitrace.analysis.sweeping.sweep import Sweep
from optitrace.rules.hyperparameter import Value, show
from optitrace.rules.numerals import format_number
from optitrace.views.headed_table import headed_table
from optitrace.views.spelling import to_ascii
from optitrace.views.sweep_curve import curve_lines
from optitrace.views.sweep_map import map_lines
from optitrace.views.wording import subtitle

HEADINGS = {"final_loss": "final loss", "steps": "steps", "distance": "distance", "path": "path"}
"""What a measure is called over its column."""


def sweep_table(
    sweeps: Sequence[Sweep],
    commands: Sequence[str],
    *,
    precision: int = 4,
    width: int | None = None,
    ascii_only: bool = False,
) -> RenderableType:
    """Return what the sweeps of one or several optimizers found.

    Args:
        sweeps: one for each optimizer.
        commands: for each, the command that traces its best configuration; empty if there is none.
        precision: decimals of the measures.
        width: how many characters a line may have; as many as needed if not given.
        ascii_only: whether to spell everything in ASCII.
    """
    spell = to_ascii if ascii_only else str
    parts: list[RenderableType] = []
    if len(sweeps) == 1:
        parts += [Text(spell(line)) for line in heading(sweeps[0])]
        parts += _pictured(sweeps[0], width, ascii_only)
        parts += [Text(), _ranking(sweeps[0], precision, width, ascii_only), Text()]
    else:
        parts += [Text(spell(line)) for line in heading(sweeps[0])[1:]]
        parts += [Text(), _best_of_each(sweeps, precision, width, ascii_only), Text()]
    for sweep, command in zip(sweeps, commands, strict=True):
        name = f"{sweep.space.base.optimizer}: " if len(sweeps) > 1 else ""
        for line in closing_lines(sweep):
            parts += [Text(folded) for folded in _folded(spell(name + line), width)]
        if command:
            parts.append(Text(spell(f"best: {command}")))
    return Group(*parts)


def varied(axis: Axis) -> str:
    """Return what an axis runs over, in words.

    >>> varied(Axis("lr", "lr", None, Range(1e-4, 1.0, 200, logarithmic=True)))
    'lr from 0.0001 to 1 in 200 equal ratios'
    >>> varied(Axis("nesterov", "nesterov", None, (True, False)))
    'nesterov true or false'
    """
    if not isinstance(axis.values, Range):
        values = [show(value) for value in axis.values]
        shown = [*values[:3], "…", values[-1]] if len(values) > 5 else values
        return f"{axis.name} {' or '.join(shown)}"
    spacing = "ratios" if axis.values.logarithmic else "steps"
    ends = f"{axis.name} from {show(axis.values.first)} to {show(axis.values.last)}"
    return f"{ends} in {axis.values.count:,} equal {spacing}" if axis.values.count else ends


def spot_check_line(sweep: Sweep) -> str | None:
    """Return how the configurations that torch traced agree with the sweep; None if none was traced."""
    if sweep.checks is None:
        return None
    agreeing = [check for check in sweep.checks if check.agrees]
    worst = max(check.ulps for check in sweep.checks)
    name = sweep.space.base.entry.class_path
    line = f"spot check: {len(agreeing)} of {len(sweep.checks)} agree with {name}, worst {_ulps(worst)} ulp"
    if any(check.growth > 1 for check in agreeing):
        line += ", where one ulp at the start grows as far"
    if len(agreeing) < len(sweep.checks):
        line += "; --dtype float64 tells whether rounding decides there"
    return line


def _ulps(ulps: float) -> str:
    return f"{math.ceil(ulps):,}" if math.isfinite(ulps) else "infinitely many"


def heading(sweep: Sweep) -> list[str]:
    """Return what was swept: how many configurations, on what, and over which settings."""
    space = sweep.space
    steps = f"{space.base.steps} step{'' if space.base.steps == 1 else 's'} each"
    drawn = "" if space.samples is None else f", drawn with seed {space.seed}"
    return [
        f"{space.base.optimizer}: {space.size:,} configuration{'' if space.size == 1 else 's'}, {steps}",
        subtitle(space.base),
        f"over {', '.join(varied(axis) for axis in space.axes)}{drawn}",
    ]


def _pictured(sweep: Sweep, width: int | None, ascii_only: bool) -> Iterator[RenderableType]:
    if sweep.landscape is None or not sweep.best:
        return
    draw = map_lines if sweep.landscape.up else curve_lines
    lines = draw(sweep.landscape, width=width, ascii_only=ascii_only)
    yield Text()
    yield Text("\n".join(lines))


def _ranking(sweep: Sweep, precision: int, width: int | None, ascii_only: bool) -> RenderableType:
    if not sweep.best:
        return Text("no configuration was finished")
    names = [axis.name for axis in sweep.space.axes]
    measures = _measures(sweep)
    headings = ["rank", *names, *(HEADINGS[name] for name in measures)]
    rows = [
        [
            str(rank),
            *(_short(c.configuration[name]) for name in names),
            *(_measure(name, c, precision) for name in measures),
        ]
        for rank, c in enumerate(sweep.best, start=1)
    ]
    return headed_table(headings, rows, width=width, numbers=headings, ascii_only=ascii_only)


def _best_of_each(
    sweeps: Sequence[Sweep], precision: int, width: int | None, ascii_only: bool
) -> RenderableType:
    finished = [sweep for sweep in sweeps if sweep.best]
    if not finished:
        return Text("no configuration was finished")
    names = [axis.name for axis in finished[0].space.axes]
    measures = _measures(finished[0])
    numbers = [*names, *(HEADINGS[name] for name in measures)]
    finished.sort(key=lambda sweep: sweep.best[0].merit(sweep.goal.rank)[:2])
    rows = [
        [
            sweep.space.base.optimizer,
            *(_short(sweep.best[0].configuration[name]) for name in names),
            *(_measure(name, sweep.best[0], precision) for name in measures),
        ]
        for sweep in finished
    ]
    return headed_table(["best of", *numbers], rows, width=width, numbers=numbers, ascii_only=ascii_only)


def _measures(sweep: Sweep) -> list[str]:
    """Return the names of what was measured, what is ranked by first."""
    known = [name for name in HEADINGS if name in sweep.best[0].measures]
    return sorted(known, key=lambda name: name != sweep.goal.rank)


def closing_lines(sweep: Sweep) -> Iterator[str]:
    """Yield what came of the configurations, and what torch says of the best."""
    counts = sweep.counts
    if not sweep.is_complete:
        yield f"interrupted: {sweep.finished:,} of {sweep.space.size:,} configurations are finished"
    near = f" (final loss within {sweep.goal.tolerance:g} of the minimum)"
    yield (
        f"{counts['converged']:,} converged{near if sweep.space.base.objective.minima else ''}, "
        f"{counts['on the way']:,} still on the way, {counts['diverged']:,} diverged"
    )
    if (line := spot_check_line(sweep)) is not None:
        yield line


def _folded(line: str, width: int | None) -> list[str]:
    return [line] if width is None else wrap(line, width, break_long_words=False, break_on_hyphens=False)


def _short(value: Value) -> str:
    """Return a value in at most six digits; the command below the table has all of them."""
    return f"{value:.6g}" if isinstance(value, float) else show(value)


def _measure(name: str, candidate: Candidate, precision: int) -> str:
    value = candidate.measures[name]
    if name == "steps" and math.isfinite(value):
        return str(int(value))
    return (
        "not reached" if value == math.inf and name in ("steps", "path") else format_number(value, precision)
    )
