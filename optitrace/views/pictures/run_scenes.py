"""The pictures of one run and of several, the panels they are made of, and the numbers beside them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice

from optitrace.analysis.comparison import RankedRuns, losses_after
from optitrace.analysis.loss_grid import LossGrid
from optitrace.experiment.objective import Point
from optitrace.records.trace import NamedTrace, TraceRecord
from optitrace.text import counted, format_number
from optitrace.views.comparison_view import BEST, closing_lines, learning_rates
from optitrace.views.display import Display
from optitrace.views.grid import NORM, Field, few_fields, make_grid
from optitrace.views.pictures.polylines import Course, curves, cut, paths
from optitrace.views.pictures.scene import (
    Axis,
    Contour,
    Kind,
    Mark,
    Numbers,
    Panel,
    Position,
    Scene,
    axis_of,
    interval_axis,
    linear_axis,
    steps_axis,
)
from optitrace.views.wording import ending, subtitle, title

LEVELS = 12
"""How many contour lines there are."""


def trace_scene(trace: TraceRecord, terrain: LossGrid | None, precision: int = 4) -> Scene:
    """Return the picture of a run: its path over the loss, if that can be drawn, and its loss.

    Args:
        trace: the run.
        terrain: the loss around it; None if it has more than two coordinates.
        precision: decimals of the numbers that are told below.
    """
    runs = [NamedTrace("", trace)]
    panels = [plane(runs, terrain)] if terrain else []
    panels.append(loss_chart(runs))
    if not terrain:
        panels += norm_charts(runs)
    if trace.experiment.schedule is not None:
        panels.append(lr_chart(runs))
    notes = tuple(ending(trace, precision))
    return Scene(title(trace.experiment), subtitle(trace.experiment), tuple(panels), notes)


def compare_scene(comparison: RankedRuns, terrain: LossGrid | None) -> Scene:
    """Return the picture of a comparison: all paths over one loss, if that can be drawn, and the losses.

    Args:
        comparison: the runs; line k of each panel is run k of the ranking.
        terrain: the loss around them; None if they have more than two coordinates, or not one loss.
    """
    runs = comparison.traces
    panels = [plane(runs, terrain)] if terrain else []
    panels.append(loss_chart(runs))
    if not terrain:
        panels += norm_charts(runs)
    rates, said = learning_rates(comparison), subtitle(runs[0].trace.experiment)
    # several rates are too long for a title
    is_short = len({repr(s.experiment.hyperparameters.get("lr")) for s in comparison.summaries}) == 1
    return Scene(
        f"{counted(len(runs), 'run')}, {rates}" if is_short else counted(len(runs), "run"),
        said if is_short else f"{said}, {rates}",
        tuple(panels),
        tuple(line for line in closing_lines(comparison) if not line.startswith(BEST)),
    )


def trace_numbers(trace: TraceRecord, steps: Sequence[int], precision: int) -> Numbers:
    """Return the numbers of a run, as its table has them: what a step used, and what it led to.

    Args:
        trace: the run.
        steps: the steps to be shown.
        precision: decimals of each number.
    """
    grid = make_grid(trace.at_steps(steps), Display(precision=precision, state=True, all_rows=True))
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


def chart(label: str, courses: Sequence[Course], across: str = "step") -> Panel:
    """Return a quantity of some runs over the steps, logarithmic where it spans decades.

    Args:
        label: the quantity.
        courses: for each run, its steps and the points (step, number); numbers may not be finite.
        across: what the steps are called.
    """
    steps = steps_axis(across, max((course.steps[-1] for course in courses if course.steps), default=1))
    up = axis_of(label, [[y for _, y in course.points] for course in courses])
    lines, marks = curves(courses, steps, up)
    return Panel("", steps, up, lines=lines, marks=marks)


def course(name: str, steps: Sequence[int], numbers: Sequence[float]) -> Course:
    """Return the course of a quantity over the steps."""
    return Course(name, steps, [(float(s), number) for s, number in zip(steps, numbers, strict=True)])


def loss_chart(runs: Sequence[NamedTrace]) -> Panel:
    """Return the loss of the weights after each step, as far as it is known.

    That is the loss which the next step used: beside row k of a table stands that of k − 1 steps taken.
    """
    return chart("loss", [_losses(run) for run in runs], "steps taken")


def lr_chart(runs: Sequence[NamedTrace]) -> Panel:
    """Return the lr that each step used."""
    return chart("lr", [_of_field(run.name, run.trace, Field("lr", None, run.trace.lr)) for run in runs])


def norm_charts(runs: Sequence[NamedTrace]) -> list[Panel]:
    """Return the norm of the gradient that each step used, and that of the change of the weights."""
    gradients = [_of_field(r.name, r.trace, Field("gradient", NORM, r.trace.gradient)) for r in runs]
    updates = [_of_field(r.name, r.trace, Field("update", NORM, r.trace.weights, True)) for r in runs]
    return [chart("gradient norm", gradients), chart("update norm", updates)]


def plane(runs: Sequence[NamedTrace], terrain: LossGrid) -> Panel:
    """Return the loss with the paths of some runs over it: contour lines, or for one coordinate a curve."""
    return _contoured(runs, terrain) if len(terrain.axes) == 2 else _graphed(runs, terrain)


def contour(terrain: LossGrid) -> Contour:
    """Return a terrain of two coordinates with its contour lines.

    Line k of n is where the share (k/n)² of the picture lies lower: for a bowl, at equal distances; for
    a narrow valley, as many inside it as on its walls, where equal differences of the loss would show
    the walls alone.
    """
    across, up = terrain.axes
    values = sorted(loss for row in terrain.losses for loss in row if math.isfinite(loss))
    levels: list[float] = []
    for k in range(1, LEVELS + 1):
        if not values:
            break
        level = values[min(int(len(values) * ((k - 0.5) / LEVELS) ** 2), len(values) - 1)]
        if level > (levels[-1] if levels else values[0]):
            levels.append(level)
    return Contour(across, up, terrain.losses, tuple(levels))


def _losses(run: NamedTrace) -> Course:
    known = list(losses_after(run.trace))
    return course(run.name, [step for step, _ in known], [loss for _, loss in known])


def _of_field(name: str, trace: TraceRecord, field: Field) -> Course:
    values = [(step, field.value(row)) for row, step in enumerate(trace.steps)]
    known = [(step, value) for step, value in values if value is not None]
    return course(name, [step for step, _ in known], [value for _, value in known])


def _contoured(runs: Sequence[NamedTrace], terrain: LossGrid) -> Panel:
    across, up = (interval_axis(f"w{k}", interval) for k, interval in enumerate(terrain.frame, start=1))
    lines, ends = paths([_weights(run) for run in runs], across, up)
    starts = dict.fromkeys(_pair(run.trace.experiment.start) for run in runs)
    minima = [_pair(minimum) for minimum in runs[0].trace.experiment.objective.minima]
    return Panel(
        "",
        across,
        up,
        contour=contour(terrain),
        lines=lines,
        marks=(*_marks(starts, minima, across, up), *ends),
        is_square=True,
    )


def _weights(run: NamedTrace) -> Course:
    trace = run.trace
    rows = [(step, trace.weights.row(k)) for k, step in enumerate(trace.steps)]
    known = [(step, row) for step, row in rows if row is not None]
    return Course(run.name, [step for step, _ in known], [_pair(row) for _, row in known])


def _pair(point: Point) -> Position:
    return point[0], point[1]


def _marks(starts: Iterable[Position], minima: Iterable[Position], across: Axis, up: Axis) -> list[Mark]:
    marks = [Mark(Kind.START, at) for at in starts] + [Mark(Kind.MINIMUM, at) for at in minima]
    return [m for m in marks if across.low <= m.at[0] <= across.high and up.low <= m.at[1] <= up.high]


def _graphed(runs: Sequence[NamedTrace], terrain: LossGrid) -> Panel:
    """Return the loss of one coordinate as a curve, with the steps on it."""
    [numbers] = terrain.axes
    [losses] = terrain.losses
    across = interval_axis("w1", terrain.frame[0])
    courses = [_on_graph(run, numbers, losses) for run in runs]
    up = linear_axis("loss", losses)
    lines, ends = paths(courses, across, up)
    objective = runs[0].trace.experiment.objective
    starts = dict.fromkeys(course.points[0] for course in courses if course.points)
    minima = [(w, _height(w, numbers, losses)) for (w,) in objective.minima]
    return Panel(
        "",
        across,
        up,
        ground=cut(range(len(numbers)), list(zip(numbers, losses, strict=True)), across, up),
        lines=lines,
        marks=(*_marks(starts, minima, across, up), *ends),
        is_square=True,
    )


def _on_graph(run: NamedTrace, numbers: Sequence[float], losses: Sequence[float]) -> Course:
    """Return the weight and the loss after each step.

    Where a loss was not recorded, as after most steps of which only every K-th was, the curve has it.
    """
    trace = run.trace
    recorded = dict(losses_after(trace))
    rows = [(step, trace.weights.row(k)) for k, step in enumerate(trace.steps)]
    known = [(step, row[0]) for step, row in rows if row is not None]
    points = [(w, recorded[s] if s in recorded else _height(w, numbers, losses)) for s, w in known]
    return Course(run.name, [step for step, _ in known], points)


def _height(w: float, numbers: Sequence[float], losses: Sequence[float]) -> float:
    """Return the height of a curve at a number: between its points on a line, beyond them as at the last."""
    k = min(max(bisect_left(numbers, w), 1), len(numbers) - 1)
    share = (w - numbers[k - 1]) / (numbers[k] - numbers[k - 1])
    low, high = losses[k - 1], losses[k]
    return low + min(max(share, 0.0), 1.0) * (high - low)
