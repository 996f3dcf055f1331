"""The theory of gradient descent on a quadratic, and the observed rate of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optitrace.errors import UsageError
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.objective import Quadratic
from optitrace.records.trace import TraceRecord

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
    """The predictions of theory for a run.

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
        UsageError: the theory does not cover the run.
    """
    iteration = linear_iteration(experiment)
    if iteration is None:
        raise UsageError(
            "theory covers only sgd on the quadratic, with a fresh gradient, neither noisy nor clipped, "
            "and no schedule; leave out --theory."
        )
    if not iteration.curvatures:
        raise UsageError(
            "the start is at the minimum, where theory predicts nothing; choose another --start."
        )
    return iteration


def theory(trace: TraceRecord) -> Theory:
    """Return the predictions for a run of SGD on a quadratic, and its observed rate.

    Raises:
        UsageError: the theory does not cover the run.
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


@dataclass(frozen=True, slots=True)
class StabilityLimit:
    """The lr below which gradient descent converges on a quadratic, and at which it no longer does.

    Attributes:
        lr: the limit; 0 where no lr converges.
        reason: its derivation, in numbers.
    """

    lr: float
    reason: str


def stability_limit(experiment: Experiment) -> StabilityLimit | None:
    """Return the stability limit of a run; None if the theory does not cover it.

    Both roots of the polynomial of `LinearIteration.radius` lie inside the unit circle, by Jury's
    conditions, if and only if the momentum m is below 1 and 0 < lr·a < 2(1 + m) for every curvature a;
    in Nesterov's form, 0 < lr·a < 2(1 + m) / (1 + 2m). The largest curvature decides.
    """
    iteration = linear_iteration(experiment)
    if iteration is None or not iteration.curvatures or iteration.share <= 0:
        return None
    largest, momentum = max(iteration.curvatures), iteration.momentum
    if min(iteration.curvatures) < 0:
        return StabilityLimit(
            0, f"a curvature is {min(iteration.curvatures):g}, where every step moves away from the minimum"
        )
    if momentum >= 1:
        return StabilityLimit(0, f"a momentum of {momentum:g} never decays")
    if largest == 0:
        return None
    shrink = 1 + 2 * momentum if iteration.nesterov else iteration.share
    numerator = f"2(1 + {momentum:g})" if momentum else "2"
    denominator = f"{largest:g}" if shrink == 1 else f"({shrink:g}·{largest:g})"
    decay = ", weight decay included" if experiment.hyperparameters["weight_decay"] else ""
    return StabilityLimit(
        lr=2 * (1 + momentum) / (shrink * largest),
        reason=f"{numerator} / {denominator}, the largest curvature{decay}",
    )


@dataclass(frozen=True, slots=True)
class LinearIteration:
    """The iteration that each coordinate of a run of SGD goes through, which differs by curvature.

    Attributes:
        lr: the learning rate.
        momentum: the momentum m.
        dampening: the share of each gradient that is kept out of the momentum buffer.
        nesterov: whether a step looks ahead.
        curvatures: the second derivatives along the coordinates that do not start at their minimum,
            weight decay added, and negated where the loss is climbed.
        coordinates: which coordinates these are, from 1.
    """

    lr: float
    momentum: float
    dampening: float
    nesterov: bool
    curvatures: tuple[float, ...]
    coordinates: tuple[int, ...]

    @property
    def share(self) -> float:
        """The share of each gradient that enters the momentum buffer; 1 without one."""
        return 1 - self.dampening if self.momentum else 1.0

    def radius(self, curvature: float) -> float:
        """Return the spectral radius of the iteration matrix: the factor of an error in the long run.

        With x = lr·curvature and m the momentum, the matrix of (w, b) has the characteristic
        polynomial z² − (1 + m − x)·z + m; in Nesterov's form, z² − (1 + m)(1 − x)·z + m(1 − x).
        (Polyak 1964; Lessard, Recht & Packard 2016, section 4.)
        """
        trace, determinant = self._polynomial(curvature)
        discriminant = trace * trace / 4 - determinant
        if discriminant < 0:
            return math.sqrt(determinant)
        return abs(trace) / 2 + math.sqrt(discriminant)

    def swing(self, curvature: float) -> float:
        """Return in how many steps an error swings from one side to the other; 0 where it does not.

        Half a turn, π/θ, where the roots of the polynomial are complex, of angle θ.
        """
        trace, determinant = self._polynomial(curvature)
        if trace * trace / 4 >= determinant:
            return 0.0
        return math.pi / math.acos(trace / (2 * math.sqrt(determinant)))

    def _polynomial(self, curvature: float) -> tuple[float, float]:
        """Return trace and determinant of the iteration matrix."""
        x, m = self.lr * self.share * curvature, self.momentum
        return ((1 + m) * (1 - x), m * (1 - x)) if self.nesterov else (1 + m - x, m)


def linear_iteration(experiment: Experiment) -> LinearIteration | None:
    """Return the iteration of a run; None where it is none.

    It is one for sgd on a quadratic whose gradient is fresh and whole, at a constant lr.
    """
    objective = experiment.objective
    if experiment.optimizer != "sgd" or experiment.gradient != "fresh":
        return None
    if not isinstance(objective, Quadratic):
        return None
    if experiment.noise or experiment.schedule or _clips(experiment):
        return None
    settings = experiment.hyperparameters
    lr, momentum = _number(settings["lr"]), _number(settings["momentum"])
    weight_decay = _number(settings["weight_decay"])
    direction = -1 if settings["maximize"] else 1
    moving = {
        coordinate: direction * curvature + weight_decay
        for coordinate, (curvature, start) in enumerate(
            zip(objective.curvatures, objective.principal(experiment.start), strict=True), start=1
        )
        if start != 0
    }
    return LinearIteration(
        lr=lr,
        momentum=momentum,
        dampening=_number(settings["dampening"]),
        nesterov=bool(settings["nesterov"]),
        curvatures=tuple(moving.values()),
        coordinates=tuple(moving),
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


def _observed_rate(trace: TraceRecord, swing: float) -> float | None:
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


def _clips(experiment: Experiment) -> bool:
    return experiment.clip_norm is not None or experiment.clip_value is not None


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
