"""The comparison of runs: their losses, speeds and paths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from optitrace.errors import UsageError, quoted
from optitrace.experiment.experiment import Experiment
from optitrace.records.trace import NamedTrace, Status, TraceRecord

DEFAULT_TOLERANCE = 1e-3
"""The fraction of its starting loss that a run is expected to reach."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in a few numbers, all dimensionless.

    Attributes:
        name: the name of the run.
        experiment: the experiment that was run.
        last_step: the number of steps.
        starting_loss: the loss at the start; None if no step was taken.
        final_loss: the loss at the last weights.
        distance: the Euclidean distance of the last weights from the nearest minimum; None if the
            objective has none.
        steps_to_tolerance: the number of steps until the loss first was at most the tolerance times the
            starting loss; None if it never was, or if the run started at 0 or below. It is known only
            at recorded steps; for a stale gradient, whose loss is not computed anew, at the last alone.
        detour: the path length divided by the distance from the start to the last weights: 1 is
            straight; None if the run ends where it began, or nowhere.
        overshoot: the largest distance that any coordinate went past the minimum, on the side away from its
            start; 0 if none crossed it, None if the objective has no minimum.
        diverged_at: the first step with a number that is not finite; None if all were finite.
    """

    name: str
    experiment: Experiment
    last_step: int
    starting_loss: float | None
    final_loss: float
    distance: float | None
    steps_to_tolerance: int | None
    detour: float | None
    overshoot: float | None
    diverged_at: int | None


@dataclass(frozen=True, slots=True)
class RankedRuns:
    """Several runs side by side, the lowest final loss first.

    Attributes:
        tolerance: the fraction of its starting loss that a run is expected to reach.
        summaries: a summary of each run.
        traces: the runs themselves, in the same order.
        tuning: the learning rates that each run was tuned over; None if they were not tuned.
    """

    tolerance: float
    summaries: tuple[Summary, ...]
    traces: tuple[NamedTrace, ...]
    tuning: str | None = None

    def best(self, column: str) -> float | None:
        """Return the smallest number of a column; None if all are the same or there are none."""
        values = [getattr(summary, column) for summary in self.summaries]
        numbers = [value for value in values if value is not None and math.isfinite(value)]
        return min(numbers) if len(set(values)) > 1 and numbers else None


def compare(
    traces: Sequence[NamedTrace], tolerance: float = DEFAULT_TOLERANCE, tuning: str | None = None
) -> RankedRuns:
    """Compare runs.

    Args:
        traces: the runs.
        tolerance: the fraction of its starting loss that a run is expected to reach.
        tuning: the learning rates that each run was tuned over, in words; None if they were not tuned.

    Raises:
        UsageError: the tolerance is not between 0 and 1.
    """
    check_share(tolerance)
    ranked = sorted(
        ((summarize(named, tolerance), named) for named in traces), key=lambda pair: _rank(pair[0])
    )
    summaries, runs = tuple(s for s, _ in ranked), tuple(named for _, named in ranked)
    return RankedRuns(tolerance, summaries, runs, tuning)


def check_share(tolerance: float | str) -> float:
    """Return a share of the starting loss, which may be given as text.

    Raises:
        UsageError: it is not between 0 and 1.
    """
    try:
        share = float(tolerance)
    except (TypeError, ValueError):
        share = 0.0
    if not 0 < share < 1:
        given = quoted(tolerance) if isinstance(tolerance, str) else repr(tolerance)
        raise UsageError(f"tolerance is {given}; it must be a share between 0 and 1, such as 0.001.")
    return share


def summarize(named: NamedTrace, tolerance: float) -> Summary:
    """Return the summary of a run."""
    trace = named.trace
    weights = [row for k in range(len(trace.steps)) if (row := trace.weights.row(k)) is not None]
    starting = trace.loss.values[0] if trace.loss.values else None
    minimum = min(trace.experiment.objective.minima, key=lambda m: _distance(weights[-1], m), default=None)
    return Summary(
        name=named.name,
        experiment=trace.experiment,
        last_step=trace.steps[-1],
        starting_loss=starting,
        final_loss=trace.final_loss,
        distance=None if minimum is None else _distance(weights[-1], minimum),
        steps_to_tolerance=_steps_until(trace, tolerance * starting) if starting and starting > 0 else None,
        detour=_detour(weights),
        overshoot=None if minimum is None else _overshoot(weights, minimum),
        diverged_at=trace.outcome.step if trace.outcome.status is Status.NON_FINITE else None,
    )


def losses_after(trace: TraceRecord) -> Iterator[tuple[int, float]]:
    """Yield the known losses, each with the number of steps taken before it."""
    if trace.experiment.gradient != "stale":
        for step, loss in zip(trace.steps[1:], trace.loss.values, strict=True):
            yield step - 1, loss
    elif trace.loss.values:
        yield 0, trace.loss.values[0]
    yield trace.steps[-1], trace.final_loss


def _rank(summary: Summary) -> tuple[float, float]:
    """Return the sort key of a run; a NaN loss comes last."""
    loss = summary.final_loss if math.isfinite(summary.final_loss) else math.inf
    steps = math.inf if summary.steps_to_tolerance is None else summary.steps_to_tolerance
    return loss, steps


def _steps_until(trace: TraceRecord, target: float) -> int | None:
    return next((steps for steps, loss in losses_after(trace) if loss <= target), None)


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    return math.dist(a, b)


def _detour(weights: Sequence[Sequence[float]]) -> float | None:
    line = _distance(weights[0], weights[-1])
    if not (0 < line < math.inf):
        return None
    return sum(_distance(a, b) for a, b in pairwise(weights)) / line


def _overshoot(weights: Sequence[Sequence[float]], minimum: Sequence[float]) -> float:
    """Return how far past the minimum any coordinate was; one that starts there has no side."""
    sides = [math.copysign(1, w - m) if w != m else 0.0 for w, m in zip(weights[0], minimum, strict=True)]
    return max(
        (m - w) * side for row in [minimum, *weights] for w, m, side in zip(row, minimum, sides, strict=True)
    )
