"""The stability limit of gradient descent with momentum on a quadratic."""

from __future__ import annotations

from dataclasses import dataclass

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

    Along a coordinate of curvature a, gradient descent with momentum m is the linear iteration
    b' = m·b + a·w, w' = w − lr·b', with the characteristic polynomial z² − (1 + m − lr·a)·z + m. Both
    roots lie inside the unit circle (Jury's conditions) if and only if |m| < 1 and
    0 < lr·a < 2(1 + m), so the largest curvature decides. Weight decay adds to the curvature,
    dampening d multiplies lr by (1 − d), and Nesterov's step w' = w − lr·(a·w + m·b') makes the
    polynomial z² − (1 + m)(1 − lr·a)·z + m(1 − lr·a), hence the limit 2(1 + m)/(1 + 2m).
    (Polyak 1964; for Nesterov's form, Lessard, Recht & Packard 2016, section 4.)
    """
    if experiment.optimizer != "sgd" or experiment.gradient != "fresh":
        return None
    settings = experiment.hyperparameters
    momentum, dampening = _number(settings["momentum"]), _number(settings["dampening"])
    weight_decay = _number(settings["weight_decay"])
    direction = -1 if settings["maximize"] else 1
    curvatures = [
        direction * curvature + weight_decay
        for curvature, start in zip(experiment.objective.curvatures, experiment.start, strict=True)
        if start != 0
    ]
    if not curvatures:
        return None
    if min(curvatures) < 0:
        return StabilityLimit(0, f"a curvature is {min(curvatures):g}, where every step leads away")
    if momentum >= 1:
        return StabilityLimit(0, f"a momentum of {momentum:g} never dies away")
    if max(curvatures) == 0 or (momentum and dampening >= 1):
        return None
    largest = max(curvatures)
    shrink = 1 + 2 * momentum if settings["nesterov"] else 1 - dampening if momentum else 1.0
    numerator = f"2(1 + {momentum:g})" if momentum else "2"
    denominator = f"{largest:g}" if shrink == 1 else f"({shrink:g}·{largest:g})"
    decay = ", weight decay included" if weight_decay else ""
    return StabilityLimit(
        lr=2 * (1 + momentum) / (shrink * largest),
        reason=f"{numerator} / {denominator}, the largest curvature{decay}",
    )


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
