"""Gradient descent with momentum on a quadratic, as the linear iteration that it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optitrace.experiment.experiment import Experiment
from optitrace.experiment.objective import Quadratic


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


def _clips(experiment: Experiment) -> bool:
    return experiment.clip_norm is not None or experiment.clip_value is not None


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
