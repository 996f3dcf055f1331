"""The target: what a run is after, and may stop early at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optitrace.errors import UsageError, did_you_mean
from optitrace.rules.hyperparameter import show

QUANTITIES = {
    "loss": "the loss",
    "gradient": "the Euclidean norm of the gradient",
    "distance": "the distance from the nearest known minimum",
}
"""What can be a target, and what it is."""


@dataclass(frozen=True, slots=True)
class Target:
    """A quantity that is to fall below a limit.

    Attributes:
        quantity: one of `QUANTITIES`.
        limit: what it is to fall below.
    """

    quantity: str
    limit: float

    def __str__(self) -> str:
        return f"{self.quantity}<{show(self.limit)}"


def parse_target(text: str) -> Target:
    """Return the target of a text such as ``loss<1e-6``.

    Raises:
        UsageError: there is no such quantity, or the limit is no number.
    """
    name, sign, limit = (part.strip() for part in text.partition("<"))
    if not sign:
        raise UsageError(f"the target '{text}' has no '<'; write it as loss<1e-6.")
    if name not in QUANTITIES:
        guess = did_you_mean(name, QUANTITIES) or ";"
        raise UsageError(f"unknown quantity '{name}' in a target{guess} there are {', '.join(QUANTITIES)}.")
    try:
        number = float(limit)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"the limit of a target is '{limit}'; it must be a number, as in loss<1e-6.")
    return Target(name, number)
