"""The loss on a grid around runs of one or two coordinates, and the interval of each coordinate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optitrace.errors import UsageError
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.landscapes import Landscape
from optitrace.experiment.objective import Objective, Point
from optitrace.experiment.objectives import UserLoss, recorded_function
from optitrace.records.trace import Status, TraceRecord

MOST_COORDINATES = 2
"""The largest number of coordinates whose loss can be drawn."""

FARTHEST = 1e300
"""Where a loss can be drawn: whoever draws it must be able to compute with the ends of a frame."""

RESOLUTION = {1: 301, 2: 161}
"""The number of grid points along each coordinate, by the number of coordinates."""

RUNAWAY = 10.0
"""How many times as far as its first half the second half of a run goes where it is out of sight."""

ASTRAY = 1000.0
"""How many times as far as all that is known of a loss a run goes that is lost, whatever its loss says."""

FARTHEST_MINIMUM = 30.0
"""A minimum that is farther from the start than so many times the extent of a run is left out."""

MARGIN = 0.08
"""The margin around a run, as a fraction of its extent."""

MOST_UNEQUAL = 10.0
"""Up to this ratio of the extents both coordinates have one scale, on which a gradient crosses its level
line at a right angle; beyond, each has its own."""


@dataclass(frozen=True, slots=True)
class LossGrid:
    """The loss over a grid.

    Attributes:
        frame: the interval of each coordinate; the grid goes from its low to its high end.
        axes: for each coordinate the numbers at which the grid has points, ascending.
        losses: for each number of the last axis, from low to high, the losses along the first; a single
            row for one coordinate. NaN throughout where the loss cannot be computed.
    """

    frame: tuple[Interval, ...]
    axes: tuple[tuple[float, ...], ...]
    losses: Sequence[Sequence[float]]


def terrain(traces: Sequence[TraceRecord]) -> LossGrid | None:
    """Return the loss around some runs; None if they have too many coordinates, not one loss, or go too far.

    A function that a saved trace names is not run, and the loss is NaN throughout, as it is where a function
    is no longer where it was.
    """
    experiments = [trace.experiment for trace in traces]
    first = next((e for e in experiments if not recorded_function(e.objective)), experiments[0])
    if len(first.start) > MOST_COORDINATES or any(e.objective != first.objective for e in experiments):
        return None
    intervals = frame(traces)
    if any(abs(end) > FARTHEST for interval in intervals for end in (interval.low, interval.high)):
        return None
    count = RESOLUTION[len(intervals)]
    axes = tuple(_spaced(interval, count) for interval in intervals)
    try:
        values = _losses(first, axes)
    except UsageError:
        values = [math.nan] * count ** len(axes)
    return LossGrid(intervals, axes, [values[k : k + count] for k in range(0, len(values), count)])


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers from `low` to `high`, both finite, the first the smaller."""

    low: float
    high: float

    @property
    def extent(self) -> float:
        """The distance between the ends."""
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def frame(traces: Sequence[TraceRecord]) -> tuple[Interval, ...]:
    """Return an interval for each coordinate that holds what is of interest of some runs of one loss.

    Of runs that go astray only the start has a say in it, unless all of them do: then their beginnings.
    """
    kept = [rows_of_interest(trace) for trace in traces]
    whole = [n for n, trace in zip(kept, traces, strict=True) if n == len(trace.steps)]
    points: list[Point] = []
    for trace, rows in zip(traces, kept, strict=True):
        shown = rows if rows == len(trace.steps) or not whole else min(rows, 1)
        points += _with_minimum([row for k in range(shown) if (row := trace.weights.row(k))], trace)
    origin = (0.0,) * len(traces[0].experiment.start)
    return _spacious(points or [origin], traces[0].experiment.objective)


def rows_of_interest(trace: TraceRecord) -> int:
    """Return how many rows of a run, from its start on, are of interest: all, unless it goes astray.

    Of one that does, the second half is left out as long as it goes `RUNAWAY` times as far as the first.
    What follows weights that are not finite is of no interest.
    """
    start = trace.weights.row(0)
    assert start is not None
    distances = []
    for k in range(len(trace.steps)):
        row = trace.weights.row(k)
        distance = math.nan if row is None else math.dist(row, start)
        if not math.isfinite(distance):
            break
        distances.append(distance)
    known = max((math.dist(start, point) for point in _known(trace.experiment.objective)), default=0.0)
    if _is_astray(trace, max(distances, default=0.0), known):
        return rows_before_flight(distances, known)
    return len(distances)


def rows_before_flight(distances: Sequence[float], near: float = 0.0) -> int:
    """Return how many of some distances from a start come before they run away.

    >>> rows_before_flight([0, 1, 2, 3, 4, 5])
    6
    >>> rows_before_flight([0, 1, 2, 4, 8, 16, 32, 64])
    4

    Args:
        distances: the distances, the first of the start itself.
        near: up to here no distance is out of sight.
    """
    rows = len(distances)
    while rows >= 4:
        half = (rows + 1) // 2
        reach = max(*distances[:half], near)
        if not max(distances[half:rows]) > RUNAWAY * reach > 0:
            break
        rows = half
    return rows


def _spaced(interval: Interval, count: int) -> tuple[float, ...]:
    return tuple(interval.low + interval.extent * k / (count - 1) for k in range(count))


def _losses(experiment: Experiment, axes: Sequence[Sequence[float]]) -> list[float]:
    """Return the loss at each point of a grid, the first coordinate changing fastest.

    It is computed in float64; a custom function may know only the dtype that it is run in.
    """
    import torch

    from optitrace.analysis.sweeping.measures import batched_loss

    is_user_class = isinstance(experiment.objective, UserLoss)
    dtype = getattr(torch, experiment.dtype) if is_user_class else torch.float64
    device = torch.device(experiment.device if is_user_class else "cpu")
    grid = torch.meshgrid([torch.tensor(axis, dtype=torch.float64) for axis in reversed(axes)], indexing="ij")
    points = torch.stack([along.flatten() for along in reversed(grid)], dim=-1).to(dtype).to(device)
    with torch.no_grad():
        try:
            losses = batched_loss(experiment.objective, dtype, device).value(points)
        except (UsageError, RuntimeError):  # a function that branches on its weights takes one at a time
            loss = experiment.objective.loss(dtype, device)
            losses = torch.stack([loss(point) for point in points])
    values: list[float] = losses.double().tolist()
    return values


def _is_astray(trace: TraceRecord, farthest: float, known: float) -> bool:
    if trace.outcome.status is Status.NON_FINITE or farthest > ASTRAY * known > 0:
        return True
    return bool(trace.loss.values) and trace.final_loss > trace.loss.values[0]


def _known(objective: Objective) -> Iterable[Point]:
    """Return the points of a loss that are known: its minima, and two corners of its usual bounds."""
    corners = zip(*objective.bounds, strict=True) if isinstance(objective, Landscape) else ()
    return [*objective.minima, *corners]


def _with_minimum(points: list[Point], trace: TraceRecord) -> list[Point]:
    """Return the points of a run and the minimum that is nearest to its end, unless that is far off."""
    minima = trace.experiment.objective.minima
    if not points or not minima:
        return points
    nearest = min(minima, key=lambda m: math.dist(points[-1], m))
    reach = max(math.dist(points[0], point) for point in points)
    is_near = reach == 0 or math.dist(points[0], nearest) <= FARTHEST_MINIMUM * reach
    return [*points, nearest] if is_near else points


def _spacious(points: Sequence[Point], objective: Objective) -> tuple[Interval, ...]:
    """Return intervals with room around points, of one extent where theirs are alike."""
    ends = [(min(numbers), max(numbers)) for numbers in zip(*points, strict=True)]
    widest = max(high - low for low, high in ends)
    if not math.isfinite(widest):  # no float holds the extent
        ends = [(low / 4, high / 4) for low, high in ends]
        widest = max(high - low for low, high in ends)
    if widest == 0:
        widest = _usual_extent(points[0], objective)
    # what does not move in one coordinate has the scale of the other
    alike = all(high == low or (high - low) * MOST_UNEQUAL >= widest for low, high in ends)
    intervals = []
    for low, high in ends:
        extent = widest if alike or high == low else high - low
        middle, half = low + (high - low) / 2, extent * (0.5 + MARGIN)
        least = max(abs(middle), 1e-300) * 1e-12  # below, a float has no room for a grid
        intervals.append(Interval(middle - max(half, least), middle + max(half, least)))
    return tuple(intervals)


def _usual_extent(start: Point, objective: Objective) -> float:
    """Return the extent of what is shown of a run that stays where it began."""
    bounds = objective.bounds if isinstance(objective, Landscape) else ()
    return max((high - low for low, high in bounds), default=2 * (max(map(abs, start)) or 1.0))
