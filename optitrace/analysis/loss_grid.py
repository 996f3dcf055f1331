"""The terrain: the loss around some runs of one or two coordinates, over a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optitrace.analysis.viewport import Interval, frame
from optitrace.errors import UsageError
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.own_loss import OwnLoss, recorded_function
from optitrace.records.trace import Trace

MOST_COORDINATES = 2
"""Of how many coordinates a loss can be drawn."""

FARTHEST = 1e300
"""Where a loss can be drawn: whoever draws it must be able to compute with the ends of a frame."""

RESOLUTION = {1: 301, 2: 161}
"""How many points a grid has along each coordinate, by how many coordinates there are."""


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


def terrain(traces: Sequence[Trace]) -> LossGrid | None:
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


def _spaced(interval: Interval, count: int) -> tuple[float, ...]:
    return tuple(interval.low + interval.extent * k / (count - 1) for k in range(count))


def _losses(experiment: Experiment, axes: Sequence[Sequence[float]]) -> list[float]:
    """Return the loss at each point of a grid, the first coordinate changing fastest.

    It is computed in float64; a function of a person's own may know only the dtype that it is run in.
    """
    import torch

    from optitrace.analysis.sweeping.batched_loss import batched_loss

    is_own = isinstance(experiment.objective, OwnLoss)
    dtype = getattr(torch, experiment.dtype) if is_own else torch.float64
    device = torch.device(experiment.device if is_own else "cpu")
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
