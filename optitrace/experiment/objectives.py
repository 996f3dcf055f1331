"""The objectives by name: the quadratic, the classic landscapes, expressions, and custom functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.experiment.landscapes import EXPRESSION, LANDSCAPES, Landscape
from optitrace.experiment.objective import (
    MOST_TERMS_SHOWN,
    Objective,
    Quadratic,
    check_dimension,
    spread,
)
from optitrace.experiment.user_module import load_name, reason

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from optitrace.experiment.objective import LossFunction, Objective, Point

QUADRATIC_SETTINGS = ("coefficients", "dimension", "condition", "rotate")
"""The settings that the quadratic alone has."""

NAMES = (Quadratic.name, *LANDSCAPES)
"""The objectives that have a name."""


def find_objective(text: str) -> Objective:
    """Return the objective of a name or an expression.

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
        return UserLoss(text)
    if text.isalpha():
        guess = did_you_mean(text.lower(), NAMES) or ";"
        raise UsageError(
            f"unknown objective {quoted(text)}{guess} choose from: {', '.join(NAMES)}, "
            "expressions such as 'w1**2 + sin(w2)', and functions such as mine.py:loss."
        )
    return Landscape(EXPRESSION, " ".join(text.split()))


def choose_objective(
    text: str | None,
    coefficients: Sequence[float] | None = None,
    dimension: int | None = None,
    condition: float | None = None,
    rotate: int | None = None,
    coordinates: int | None = None,
) -> Objective:
    """Return the objective of some settings.

    Args:
        text: a name, an expression, or a function; the quadratic if not given.
        coefficients: those of the quadratic.
        dimension: the number of its weights, in place of coefficients, which are then spread from
            1/condition to 1; for a function, the number of weights that it takes.
        condition: its condition number; 1 if not given.
        rotate: the seed of a rotation of it.
        coordinates: how many the start has, if one is given; a function without dimension takes so many.

    Raises:
        UsageError: there is no such objective, or a setting is not one of its own.
    """
    objective = find_objective(text) if text is not None else Quadratic()
    if isinstance(objective, UserLoss):
        size = dimension if dimension is not None else coordinates or objective.dimension
        check_dimension(size)
        objective, dimension = replace(objective, dimension=size), None
    if not isinstance(objective, Quadratic):
        given = zip(QUADRATIC_SETTINGS, (coefficients, dimension, condition, rotate), strict=True)
        if foreign := [name for name, value in given if value is not None]:
            raise UsageError(f"{foreign[0]} is a setting of the quadratic, not of this loss; leave it out.")
        return objective
    if coefficients is not None and (dimension is not None or condition is not None):
        raise UsageError("coefficients define the quadratic; leave out dimension and condition.")
    if coefficients is None and (dimension is not None or condition is not None):
        coefficients = spread(2 if dimension is None else dimension, 1.0 if condition is None else condition)
    return replace(objective, coefficients=tuple(coefficients or objective.coefficients), rotation=rotate)


def as_settings(objective: Objective) -> dict[str, Any]:
    """Return the settings by which `choose_objective` makes an objective."""
    if isinstance(objective, Quadratic):
        turned = {} if objective.rotation is None else {"rotate": objective.rotation}
        return {"coefficients": objective.coefficients, **turned}
    if isinstance(objective, UserLoss):
        return {"objective": objective.function, "dimension": objective.dimension}
    if isinstance(objective, Landscape) and objective.name == EXPRESSION:
        return {"objective": objective.text}
    return {"objective": objective.name}


def as_short_settings(objective: Objective) -> dict[str, Any]:
    """Return settings as `as_settings` does, many coefficients by the dimension and condition that make them.

    >>> as_short_settings(Quadratic(spread(100, 1000.0)))
    {'dimension': 100, 'condition': 1000.0}
    """
    settings = as_settings(objective)
    if not isinstance(objective, Quadratic) or objective.dimension <= MOST_TERMS_SHOWN:
        return settings
    first, *_, last = objective.coefficients
    exact = last / first if first else 0.0
    for condition in (exact, float(f"{exact:.15g}")):  # the quotient can be the last bit off
        if condition >= 1 and objective.coefficients == spread(objective.dimension, condition):
            del settings["coefficients"]
            return {"dimension": objective.dimension, "condition": condition, **settings}
    return settings


def objective_of(settings: Mapping[str, Any]) -> Objective:
    """Return the objective of a trace file; a function in it is never run.

    Raises:
        UsageError: there is no such objective.
    """
    name = str(settings.get("name"))
    try:
        if name == Quadratic.name:
            return Quadratic(tuple(map(float, settings["coefficients"])), settings.get("rotation"))
        if name == EXPRESSION:
            return Landscape(EXPRESSION, settings["expression"])
        if name == UserLoss.name:
            return UserLoss(settings["function"], settings["dimension"], is_recorded=True)
    except KeyError as missing:
        raise UsageError(f"the objective {name} needs {missing.args[0]}, which is not there.") from None
    if name in LANDSCAPES:
        return LANDSCAPES[name]
    raise UsageError(f"unknown objective {quoted(name)}; choose from: {', '.join(NAMES)}.")


def names_a_function(text: str) -> bool:
    """Return whether a text is ``path/file.py:function`` or ``package.module:function``."""
    return re.fullmatch(r"[^:]+\.py:[\w.]+|[\w.]+:[A-Za-z_][\w.]*", text) is not None


@dataclass(frozen=True, slots=True)
class UserLoss:
    """A loss that a custom function computes from weights of shape (n,).

    Attributes:
        function: where the function stands: ``path/file.py:function`` or ``package.module:function``.
        dimension: the number of weights.
        is_recorded: whether a saved trace names the function: its code is then not run.
    """

    function: str
    dimension: int = 2
    is_recorded: bool = field(default=False, compare=False)

    name: ClassVar[str] = "function"
    usual_start: ClassVar[Point | None] = None
    minima: ClassVar[tuple[Point, ...]] = ()

    @property
    def formula(self) -> str:
        """The function's name, which is all that is known of it."""
        return f"{self.function}(w)"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its settings in a trace file."""
        return {"name": self.name, "function": self.function, "dimension": self.dimension}

    def loss(self, dtype: torch.dtype, device: torch.device) -> LossFunction:
        """Return the function, whose result must be a scalar tensor that autograd can follow.

        Raises:
            UsageError: the function is not there, it returns something else, or a saved trace names it.
        """
        if self.is_recorded:
            raise UsageError(
                f"the loss is the function {quoted(self.function)}, and code that a saved trace names is "
                "not run; 'optitrace show FILE --rerun' runs it."
            )
        import torch

        found, _ = load_name(self.function)
        if not callable(found):
            raise UsageError(
                f"{quoted(self.function)} is not a function; a loss is a function of the weights."
            )
        function: Callable[[Tensor], Any] = found

        def loss(w: Tensor) -> Tensor:
            try:
                value = function(w.reshape(-1))
            except (Exception, SystemExit) as error:
                raise UsageError(f"{quoted(self.function)} fails: {reason(error)}; fix it there.") from error
            follows = w.requires_grad and torch.is_grad_enabled()
            if follows and isinstance(value, torch.Tensor) and not value.requires_grad:
                raise UsageError(
                    f"{quoted(self.function)} does not depend on the weights; "
                    "compute it from them with torch functions."
                )
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                raise UsageError(
                    f"{quoted(self.function)} returns {_described(value)}; a loss is a tensor of one number."
                )
            return value.reshape(())

        return loss


def recorded_function(objective: Objective) -> str:
    """Return the function that a saved trace names as its loss; empty where the loss is anything else."""
    return objective.function if isinstance(objective, UserLoss) and objective.is_recorded else ""


def _described(value: object) -> str:
    shape = getattr(value, "shape", None)
    return f"a tensor of shape {tuple(shape)}" if shape is not None else f"a {type(value).__name__}"
