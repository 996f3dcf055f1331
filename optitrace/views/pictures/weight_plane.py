"""The plane of the weights: the loss under the paths of runs of one or two coordinates."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from optitrace.analysis.comparison import losses_after
from optitrace.analysis.loss_grid import LossGrid
from optitrace.experiment.objective import Point
from optitrace.records.trace import NamedTrace
from optitrace.views.pictures.clipping import cut
from optitrace.views.pictures.levels import contour
from optitrace.views.pictures.lines import Course, paths
from optitrace.views.pictures.scales import interval_axis, linear_axis
from optitrace.views.pictures.scene import Axis, Kind, Mark, Panel, Position


def plane(runs: Sequence[NamedTrace], terrain: LossGrid) -> Panel:
    """Return the loss with the paths of some runs over it: level lines, or for one coordinate a curve."""
    return _contoured(runs, terrain) if len(terrain.axes) == 2 else _graphed(runs, terrain)


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


def _weights(run: NamedTrace) -> Course:
    trace = run.trace
    rows = [(step, trace.weights.row(k)) for k, step in enumerate(trace.steps)]
    known = [(step, row) for step, row in rows if row is not None]
    return Course(run.name, [step for step, _ in known], [_pair(row) for _, row in known])


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


def _marks(starts: Iterable[Position], minima: Iterable[Position], across: Axis, up: Axis) -> list[Mark]:
    """Return the marks of what lies within the axes."""
    marks = [Mark(Kind.START, at) for at in starts] + [Mark(Kind.MINIMUM, at) for at in minima]
    return [m for m in marks if across.low <= m.at[0] <= across.high and up.low <= m.at[1] <= up.high]


def _pair(point: Point) -> Position:
    return point[0], point[1]


def _height(w: float, numbers: Sequence[float], losses: Sequence[float]) -> float:
    """Return the height of a curve at a number: between its points on a line, beyond them as at the last."""
    k = min(max(bisect_left(numbers, w), 1), len(numbers) - 1)
    share = (w - numbers[k - 1]) / (numbers[k] - numbers[k - 1])
    low, high = losses[k - 1], losses[k]
    return low + min(max(share, 0.0), 1.0) * (high - low)
