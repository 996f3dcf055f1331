"""The objectives by name: the quadratic, the classic landscapes, expressions and functions of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.experiment.landscapes import EXPRESSION, LANDSCAPES, Landscape
from optitrace.experiment.objective import Objective, Quadratic
from optitrace.experiment.own_loss import OwnLoss, names_a_function

NAMES = (Quadratic.name, *LANDSCAPES)
"""The objectives that have a name."""


def find_objective(text: str) -> Objective:
    """Return the objective that a text names or is.

    >>> find_objective("booth").formula
    '(w1 + 2·w2 − 7)² + (2·w1 + w2 − 5)²'
    >>> find_objective("w1**2 + sin(w2)").dimension
    2

    Raises:
        UsageError: there is no such objective, and it is no expression either.
    """
    text = text.strip()
    if text.lower() == Quadratic.name:
        return Quadratic()
    if text.lower() in LANDSCAPES:
        return LANDSCAPES[text.lower()]
    if names_a_function(text):
        return OwnLoss(text)
    if text.isalpha():
        guess = did_you_mean(text.lower(), NAMES) or ";"
        raise UsageError(
            f"unknown objective {quoted(text)}{guess} there are {', '.join(NAMES)}, "
            "expressions such as 'w1**2 + sin(w2)', and functions such as mine.py:loss."
        )
    return Landscape(EXPRESSION, text)


def objective_of(settings: Mapping[str, Any]) -> Objective:
    """Return the objective that a trace file speaks of.

    Raises:
        UsageError: there is no such objective.
    """
    name = str(settings.get("name"))
    if name == Quadratic.name:
        return Quadratic(tuple(map(float, settings["coefficients"])), settings.get("rotation"))
    if name == EXPRESSION:
        return Landscape(EXPRESSION, settings["expression"])
    if name == OwnLoss.name:
        return OwnLoss(settings["function"], settings["dimension"])
    if name in LANDSCAPES:
        return LANDSCAPES[name]
    raise UsageError(f"unknown objective {quoted(name)}; there are {', '.join(NAMES)}.")
