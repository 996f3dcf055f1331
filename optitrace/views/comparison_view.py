"""A comparison as text: its learning rates, its closing lines, and one quantity of all runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from optitrace.analysis.comparison import RankedRuns, Summary
from optitrace.analysis.diff_report import differing_settings
from optitrace.records.trace import NamedTrace, Status
from optitrace.rules.hyperparameter import show
from optitrace.text import counted, format_number, listed
from optitrace.views.display import Display
from optitrace.views.grid import END_ROWS, Field, Grid, fields, visible_rows
from optitrace.views.wording import unreached

COLUMNS = {
    "final_loss": "final loss",
    "distance": "distance to minimum",
    "steps_to_tolerance": "steps to tolerance",
    "detour": "path ratio",
    "overshoot": "overshoot",
    "diverged_at": "diverged at",
}
"""The columns of a summary, and their headings."""

RANKED = tuple(COLUMNS)[:-1]
"""The columns whose least number is the best."""

BEST = "*"
"""The mark of the best number of a column."""

NO_RACE = (
    "loss",
    "start",
    "steps",
    "gradient",
    "dtype",
    "noise",
    "seed",
    "clip_norm",
    "clip_value",
    "schedule",
    "until",
)
"""The settings that runs must share to be compared fairly."""

MOST_NAMED = 4
"""The number of slower runs that the closing sentence names."""


QUANTITIES = ("loss", "gradient", "weights")
"""The quantities that can be set side by side."""


def learning_rates(comparison: RankedRuns) -> str:
    """Return the line on the learning rates of the runs."""
    runs: dict[str, list[str]] = {}
    for summary in comparison.summaries:
        lr = summary.experiment.hyperparameters.get("lr")
        short = f"{lr:.6g}" if isinstance(lr, float) and comparison.tuning else show(lr)
        runs.setdefault(short, []).append(summary.name)
    each = "; ".join(f"{lr} for {listed(names)}" for lr, names in runs.items())
    if comparison.tuning is not None:
        return f"each at its best lr {comparison.tuning}: {each}"
    return f"all at lr {next(iter(runs))}" if len(runs) == 1 else f"learning rates differ: {each}"


def closing_lines(comparison: RankedRuns) -> Iterator[str]:
    """Yield the lines below the summary, the comparison last."""
    if any(comparison.best(column) is not None for column in RANKED):
        yield f"{BEST} best of its column"
    first, *others = comparison.traces
    unlike = {s.name for named in others for s in differing_settings(first.trace, named.trace)}
    if unequal := [name for name in NO_RACE if name in unlike]:
        yield f"the runs differ in {listed(unequal)}"
    for named in comparison.traces:
        outcome = named.trace.outcome
        if outcome.status in (Status.INTERRUPTED, Status.OUT_OF_MEMORY, Status.FAILED):
            yield f"{named.name}: {outcome.status} after step {outcome.step}"
        yield from (f"{named.name}: {line}" for line in unreached(named.trace))
    yield sentence(comparison)


def sentence(comparison: RankedRuns) -> str:
    """Return the sentence that compares the runs: who was first at the tolerance, and how much so."""
    goal = f"{comparison.tolerance:g} of the starting loss"
    arrived = sorted((s for s in comparison.summaries if s.steps_to_tolerance is not None), key=_steps)
    if not arrived:
        steps = max(summary.last_step for summary in comparison.summaries)
        return f"none reached {goal} in {counted(steps, 'step')}; use more --steps, or a larger --tolerance"
    fastest, *slower = arrived
    text = f"{fastest.name} reached {goal} in {counted(_steps(fastest), 'step')}"
    if slower:
        text += f", {', '.join(_times_fewer(fastest, other) for other in slower[:MOST_NAMED])}"
    missing = [summary.name for summary in comparison.summaries if summary.steps_to_tolerance is None]
    return f"{text}; {listed(missing)} did not" if missing else text


def _times_fewer(fastest: Summary, other: Summary) -> str:
    few, many = _steps(fastest), _steps(other)
    if few == many:
        return f"as many as {other.name}"
    if few == 0:
        return f"{other.name} in {counted(many, 'step')}"
    return f"{many / few:.1f} times fewer than {other.name}"


def _steps(summary: Summary) -> int:
    assert summary.steps_to_tolerance is not None
    return summary.steps_to_tolerance


def side_by_side(traces: Sequence[NamedTrace], quantity: str, display: Display) -> Grid:
    """Return a quantity of several runs as a grid."""
    steps = all_steps(traces)
    shown = [steps[row] for row in visible_rows(len(steps), display)]
    hidden = len(steps) - len(shown)
    show = partial(format_number, precision=display.precision)
    headings, groups, columns = [("step", "")], [0], [[str(step) for step in shown]]
    for group, (named, members) in enumerate(quantity_columns(traces, quantity, shown), start=1):
        for field, numbers in members:
            headings.append((named.name, field.heading[1]))
            groups.append(group)
            columns.append(["" if number is None else show(number) for number in numbers])
    return Grid(
        headings=headings,
        groups=groups,
        rows=list(zip(*columns, strict=True)),
        gap=END_ROWS if hidden else None,
        hidden=hidden,
    )


def all_steps(traces: Sequence[NamedTrace]) -> list[int]:
    """Return every step that one of the runs recorded."""
    return sorted(set().union(*(named.trace.steps for named in traces)))


def quantity_columns(
    traces: Sequence[NamedTrace], quantity: str, steps: Sequence[int]
) -> Iterator[tuple[NamedTrace, list[tuple[Field, list[float | None]]]]]:
    """Yield each run with the fields of a quantity and their numbers at some steps; None for no number."""
    for named in traces:
        place = {step: row for row, step in enumerate(named.trace.steps)}
        rows = [place.get(step) for step in steps]
        members = fields(quantity, named.trace.columns[quantity])
        yield named, [(f, [None if row is None else f.value(row) for row in rows]) for f in members]
