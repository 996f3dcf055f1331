"""Runs side by side for a person: a summary of each, and one quantity of all of them step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.comparison import Comparison, Summary, losses_after
from optitrace.analysis.settings_difference import differing_settings
from optitrace.records.trace import Status
from optitrace.rules.hyperparameter import show
from optitrace.text.ascii import to_ascii
from optitrace.text.number_format import counted, format_number
from optitrace.views.grid import Look
from optitrace.views.headed_table import headed_table
from optitrace.views.side_by_side import side_by_side
from optitrace.views.sparkline import sparklines
from optitrace.views.table import grid_tables
from optitrace.views.wording import unreached

COLUMNS = {
    "final_loss": "final loss",
    "distance": "distance to minimum",
    "steps_to_tolerance": "steps to tolerance",
    "detour": "path / line",
    "overshoot": "overshoot",
    "diverged_at": "diverged at",
}
"""The columns of a summary, and their headings."""

RANKED = tuple(COLUMNS)[:-1]
"""The columns whose least number is the best."""

BEST = "*"
"""What marks the best of a column."""

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
"""How many slower runs the closing sentence names."""


def compare_table(
    comparison: Comparison,
    look: Look,
    *,
    quantity: str = "",
    plot: Text | None = None,
    width: int | None = None,
    ascii_only: bool = False,
) -> RenderableType:
    """Return a summary of each run, the best of each column marked, and what is to be said of them.

    Args:
        comparison: the runs.
        look: how numbers are shown, and whether every row of a long table is.
        quantity: what of every step is shown as well; nothing if empty.
        plot: a picture to set below the tables.
        width: how many characters a line may have; as many as needed if not given.
        ascii_only: whether to spell everything in ASCII.
    """
    spell = to_ascii if ascii_only else str
    headings, rows = summary_cells(comparison, look.precision)
    summary = headed_table(headings, rows, width=width, numbers=headings[1:], ascii_only=ascii_only)
    parts: list[RenderableType] = [Text(spell(learning_rates(comparison)), style="dim"), Text(), summary]
    if quantity:
        grid = side_by_side(comparison.traces, quantity, look)
        heading = Text(spell(f"{quantity} at each step"), style="bold")
        parts += [Text(), heading]
        parts += [part for block in grid_tables(grid, width, ascii_only) for part in (Text(), block)]
        if grid.hidden:
            parts += [Text(f"{grid.hidden} rows are hidden; --all shows them")]
    if plot:
        parts += [Text(), plot]
    courses = _courses(comparison, ascii_only=ascii_only) if not plot else ()
    lines = [*courses, *closing_lines(comparison)]
    return Group(*parts, Text(), *(Text(spell(line)) for line in lines))


def summary_cells(comparison: Comparison, precision: int) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the summary; a column that is empty throughout is left out."""
    summaries = comparison.summaries
    shown = [c for c in COLUMNS if any(getattr(summary, c) is not None for summary in summaries)]
    columns = [_cells(comparison, column, precision) for column in shown]
    names = [summary.name for summary in summaries]
    return ["run", *(COLUMNS[c] for c in shown)], [list(row) for row in zip(names, *columns, strict=True)]


def learning_rates(comparison: Comparison) -> str:
    """Return the line that says at which lr the runs are."""
    runs: dict[str, list[str]] = {}
    for summary in comparison.summaries:
        lr = summary.experiment.hyperparameters.get("lr")
        short = f"{lr:.6g}" if isinstance(lr, float) and comparison.tuning else show(lr)
        runs.setdefault(short, []).append(summary.name)
    each = "; ".join(f"{lr} for {_listed(names)}" for lr, names in runs.items())
    if comparison.tuning is not None:
        return f"each at its best lr {comparison.tuning}: {each}"
    return f"all at lr {next(iter(runs))}" if len(runs) == 1 else f"not at one lr: {each}"


def closing_lines(comparison: Comparison) -> Iterator[str]:
    """Yield what is to be said under the summary, the sentence that compares last."""
    if any(comparison.best(column) is not None for column in RANKED):
        yield f"{BEST} best of its column"
    first, *others = comparison.traces
    unlike = {s.name for named in others for s in differing_settings(first.trace, named.trace)}
    if unequal := [name for name in NO_RACE if name in unlike]:
        yield f"no fair race: the runs do not share {_listed(unequal)}"
    for named in comparison.traces:
        outcome = named.trace.outcome
        if outcome.status in (Status.INTERRUPTED, Status.OUT_OF_MEMORY, Status.FAILED):
            yield f"{named.name}: {outcome.status} after step {outcome.step}"
        yield from (f"{named.name}: {line}" for line in unreached(named.trace))
    yield sentence(comparison)


def sentence(comparison: Comparison) -> str:
    """Return the sentence that compares the runs: who was first at the tolerance, and how much so."""
    goal = f"{comparison.tolerance:g} of the starting loss"
    arrived = sorted((s for s in comparison.summaries if s.steps_to_tolerance is not None), key=_steps)
    if not arrived:
        steps = max(summary.last_step for summary in comparison.summaries)
        return (
            f"none reached {goal} in {counted(steps, 'step')}; --steps takes more, --tolerance asks for less"
        )
    fastest, *slower = arrived
    text = f"{fastest.name} reached {goal} in {counted(_steps(fastest), 'step')}"
    if slower:
        text += f", {', '.join(_times_fewer(fastest, other) for other in slower[:MOST_NAMED])}"
    missing = [summary.name for summary in comparison.summaries if summary.steps_to_tolerance is None]
    return f"{text}; {_listed(missing)} did not" if missing else text


def _times_fewer(fastest: Summary, other: Summary) -> str:
    few, many = _steps(fastest), _steps(other)
    if few == many:
        return f"as many as {other.name}"
    if few == 0:
        return f"{other.name} in {counted(many, 'step')}"
    return f"{many / few:.1f} times fewer than {other.name}"


def _courses(comparison: Comparison, *, ascii_only: bool) -> Iterator[str]:
    """Yield the course of the loss of each run, all of one height and length."""
    names = [named.name for named in comparison.traces]
    losses = [[loss for _, loss in losses_after(named.trace)] for named in comparison.traces]
    for name, course in zip(names, sparklines(losses, ascii_only=ascii_only), strict=True):
        if course:
            yield f"loss of {name:<{max(map(len, names))}}  {course}"


def _cells(comparison: Comparison, column: str, precision: int) -> list[str]:
    best = comparison.best(column) if column in RANKED else None
    cells = []
    for summary in comparison.summaries:
        value = getattr(summary, column)
        text = "" if value is None else str(value) if type(value) is int else format_number(value, precision)
        if column == "diverged_at" and value is not None:
            text = f"step {value}"
        cells.append(f"{BEST}{text}" if value is not None and value == best else text)
    return cells


def _steps(summary: Summary) -> int:
    assert summary.steps_to_tolerance is not None
    return summary.steps_to_tolerance


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
