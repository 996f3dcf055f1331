"""The stability limit of gradient descent with momentum on a quadratic."""

from __future__ import annotations

from dataclasses import dataclass

from optitrace.analysis.linear_iteration import linear_iteration
from optitrace.experiment.experiment import Experiment


@dataclass(frozen=True, slots=True)
class StabilityLimit:
    """The lr below which gradient descent converges on a quadratic, and at which it no longer does.

    Attributes:
        lr: the limit; 0 where no lr converges.
        reason: how it comes about, in numbers.
    """

    lr: float
    reason: str


def stability_limit(experiment: Experiment) -> StabilityLimit | None:
    """Return the stability limit of a run; None where this theory has nothing to say.

    Both roots of the polynomial of `LinearIteration.radius` lie inside the unit circle, by Jury's
    conditions, if and only if the momentum m is below 1 and 0 < lr·a < 2(1 + m) for every curvature a;
    in Nesterov's form, 0 < lr·a < 2(1 + m) / (1 + 2m). The largest curvature decides.
    """
    iteration = linear_iteration(experiment)
    if iteration is None or not iteration.curvatures or iteration.share <= 0:
        return None
    largest, momentum = max(iteration.curvatures), iteration.momentum
    if min(iteration.curvatures) < 0:
        return StabilityLimit(0, f"a curvature is {min(iteration.curvatures):g}, where every step leads away")
    if momentum >= 1:
        return StabilityLimit(0, f"a momentum of {momentum:g} never dies away")
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
