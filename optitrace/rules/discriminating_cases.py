"""The settings, weights and gradients under which a wrong rule cannot pass for a right one.

At default hyperparameters most mistakes change nothing that can be seen: a weight decay that is zero
may stand anywhere, an eps of 1e-8 may stand inside the root or outside. The cases of the rules together
take every branch of every rule both ways, and show every mistake that is known of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from optitrace.rules.rule import Rule, takes_matrices

STEPS = 50
"""How many steps are taken: enough to pass RAdam's warm-up and every t0 and clamp of the cases."""

DECAY_AND_MAXIMIZE: Mapping[str, Any] = {"weight_decay": 0.1, "maximize": True}
"""Weight decay has its own sign, which `maximize` must not turn."""

VECTOR = (4,)
"""The shape of the weights where a rule takes a vector."""

MATRICES = ((1, 4), (4, 1), (2, 3), (3, 2))
"""The shapes of the weights where a rule takes a matrix: a row, a column, a wide one and a tall one."""


def cases_of(rule: Rule) -> tuple[Mapping[str, Any], ...]:
    """Return hyperparameters that tell a rule from a wrong one; what is not named has the default.

    They are the rule's own. For a rule that names none: a large lr, then every other number moved, then
    every switch turned as well.
    """
    return rule.cases or tuple({"lr": 0.1, **case} for case in _usual_cases(rule))


def shapes_of(rule: Rule) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the weights that a rule is tried on."""
    return MATRICES if takes_matrices(rule.function) else (VECTOR,)


def _usual_cases(rule: Rule) -> Iterator[dict[str, Any]]:
    defaults = {parameter.name: parameter.default for parameter in rule.parameters if parameter.name != "lr"}
    switches = {name: not value for name, value in defaults.items() if isinstance(value, bool)}
    numbers = {name: _moved(value) for name, value in defaults.items() if isinstance(value, float | tuple)}
    yield {}
    yield numbers
    yield {**numbers, **switches}


def _moved(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_moved, value))
    if not isinstance(value, float):
        return value
    return 0.9 * value or 0.1


def start(size: int) -> list[float]:
    """Return `size` weights of both signs and of different sizes."""
    return [2.0 * math.cos(2.4 * i) for i in range(size)]


def gradient(step: int, size: int) -> list[float]:
    """Return the gradient of a step, the same for every rule.

    It belongs to a loss that is linear in the weights, with coefficients that change from step to
    step: in sign, slowly for one weight and quickly for another; in scale, by a factor of a hundred;
    and one weight in five has none. As it does not depend on the weights, no error feeds on itself.
    """
    scale = 10.0 ** math.sin(0.3 * step)
    return [0.0 if (step + i) % 5 == 0 else scale * math.cos((0.1 + 0.7 * i) * step + i) for i in range(size)]
