"""Theory beside a trace: what is known of gradient descent on a quadratic, and what the run did."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optitrace.analysis.linear_iteration import LinearIteration, linear_iteration
from optitrace.analysis.stability import StabilityLimit, stability_limit
from optitrace.errors import UsageError
from optitrace.experiment.experiment import Experiment
from optitrace.records.trace import Trace

SMALLEST = 1e-290
"""Below this distance from the minimum float64 soon loses digits, and no rate is read from it."""

FEWEST_ROWS = 8
"""A rate is not read from fewer rows."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The lr and momentum at which gradient descent converges fastest on given curvatures."""

    lr: float
    momentum: float


@dataclass(frozen=True, slots=True)
class Theory:
    """What theory says of a run.

    A rate is the factor by which the distance from the minimum changes a step, in the long run.

    Attributes:
        limit: the stability limit; None where the theory knows none.
        predicted_rate: the spectral radius of the iteration matrix of the slowest coordinate.
        slowest: that coordinate, from 1.
        observed_rate: the rate of the run; None if it is too short to tell.
        optimum: the best lr and momentum; None where no lr converges.
    """

    limit: StabilityLimit | None
    predicted_rate: float
    slowest: int
    observed_rate: float | None
    optimum: Optimum | None


def check_theory(experiment: Experiment) -> LinearIteration:
    """Return the linear iteration that the theory is about.

    Raises:
        UsageError: the run is none.
    """
    iteration = linear_iteration(experiment)
    if iteration is None:
        raise UsageError(
            "this theory is about sgd on the quadratic, with a fresh gradient, neither noisy nor clipped, "
            "and no schedule; leave out --theory."
        )
    if not iteration.curvatures:
        raise UsageError("a start at the minimum leaves theory nothing to say; choose another --start.")
    return iteration


def theory(trace: Trace) -> Theory:
    """Return what theory says of a run of SGD on a quadratic, and the rate that was observed.

    Raises:
        UsageError: the run is of another kind.
    """
    iteration = check_theory(trace.experiment)
    radii = [iteration.radius(curvature) for curvature in iteration.curvatures]
    return Theory(
        limit=stability_limit(trace.experiment),
        predicted_rate=max(radii),
        slowest=iteration.coordinates[radii.index(max(radii))],
        observed_rate=_observed_rate(trace, max(map(iteration.swing, iteration.curvatures))),
        optimum=_optimum(iteration),
    )


def _optimum(iteration: LinearIteration) -> Optimum | None:
    """Return the fastest lr and momentum for the curvatures between a (least) and b (greatest).

    Heavy ball: lr = 4 / (√b + √a)², over (1 − dampening) where there is one, and momentum =
    ((√b − √a) / (√b + √a))² (Polyak 1964). Nesterov, with k = b / a: lr = 4 / (3b + a), momentum =
    (√(3k + 1) − 2) / (√(3k + 1) + 2) (Lessard et al. 2016).
    """
    a, b = min(iteration.curvatures), max(iteration.curvatures)
    share = 1 - iteration.dampening
    if a <= 0 or share <= 0:
        return None
    if iteration.nesterov:
        root = math.sqrt(3 * b / a + 1)
        return Optimum(lr=4 / (3 * b + a), momentum=(root - 2) / (root + 2))
    low, high = math.sqrt(a), math.sqrt(b)
    momentum = ((high - low) / (high + low)) ** 2
    return Optimum(lr=4 / (high + low) ** 2 / (share if momentum else 1), momentum=momentum)


def _observed_rate(trace: Trace, swing: float) -> float | None:
    """Return the rate of a run, from the greatest distances in the third and the last quarter of it.

    The greatest of many, since with momentum the distance swings, so that a quarter must be as long as
    a swing; and not from the first half, where the faster coordinates still have a part in it.
    """
    distances = []
    for row in range(len(trace.steps)):
        distance = math.hypot(*(trace.weights.row(row) or ()))
        if not SMALLEST < distance < math.inf:
            break
        distances.append(distance)
    if len(distances) < FEWEST_ROWS:
        return None
    quarter = len(distances) // 4
    if trace.steps[len(distances) - 1] - trace.steps[len(distances) - quarter] < swing:
        return None
    last = max(range(len(distances) - quarter, len(distances)), key=distances.__getitem__)
    third = max(range(len(distances) - 2 * quarter, len(distances) - quarter), key=distances.__getitem__)
    steps = trace.steps[last] - trace.steps[third]
    return math.pow(distances[last] / distances[third], 1 / steps)
