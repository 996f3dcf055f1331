"""Landscapes: losses given by an expression, and named test functions.

The classic ones are test functions of the literature, with the start, the minima and the bounds that
are usual for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from optitrace.experiment.expression import Expression, parse_expression

if TYPE_CHECKING:
    import torch

    from optitrace.experiment.objective import LossFunction, Point

Bounds = tuple[tuple[float, float], ...]
"""The usual interval of each coordinate."""


EXPRESSION = "expression"
"""The name of a landscape that is given as an expression."""


@dataclass(frozen=True)
class Landscape:
    """A loss that an expression of the weights w1, w2, … gives.

    Attributes:
        name: its name; ``expression`` for a custom one.
        text: the expression.
        usual_start: the usual start; None for a custom one.
        minima: the known points of its minimum.
        bounds: its usual domain; empty if not known.
        source: its source; empty for a custom one.

    Raises:
        UsageError: the expression cannot be read.
    """

    name: str
    text: str
    usual_start: Point | None = None
    minima: tuple[Point, ...] = ()
    bounds: Bounds = ()
    source: str = ""

    def __post_init__(self) -> None:
        _ = self.expression

    @cached_property
    def expression(self) -> Expression:
        """The expression, read."""
        return parse_expression(self.text)

    @property
    def dimension(self) -> int:
        """The number of weights."""
        return self.expression.dimension

    @property
    def formula(self) -> str:
        """The loss in mathematical notation."""
        return self.expression.formula

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its settings in a trace file, from which it can be recreated."""
        return (
            {"name": self.name, "expression": self.text} if self.name == EXPRESSION else {"name": self.name}
        )

    def loss(self, dtype: torch.dtype, device: torch.device) -> LossFunction:
        """Return the loss as a function of weights; numbers in it take the weights' dtype and device."""
        return self.expression.evaluate


LANDSCAPES: Mapping[str, Landscape] = {
    landscape.name: landscape
    for landscape in (
        Landscape(
            "rosenbrock",
            "(1 - w1)**2 + 100*(w2 - w1**2)**2",
            usual_start=(-1.2, 1.0),
            minima=((1.0, 1.0),),
            bounds=((-2.0, 2.0), (-1.0, 3.0)),
            source="Rosenbrock 1960: a narrow curved valley",
        ),
        Landscape(
            "beale",
            "(1.5 - w1 + w1*w2)**2 + (2.25 - w1 + w1*w2**2)**2 + (2.625 - w1 + w1*w2**3)**2",
            usual_start=(1.0, 1.0),
            minima=((3.0, 0.5),),
            bounds=((-4.5, 4.5), (-4.5, 4.5)),
            source="Beale 1958: steep walls around a flat floor",
        ),
        Landscape(
            "booth",
            "(w1 + 2*w2 - 7)**2 + (2*w1 + w2 - 5)**2",
            usual_start=(0.0, 0.0),
            minima=((1.0, 3.0),),
            bounds=((-10.0, 10.0), (-10.0, 10.0)),
            source="Booth's function (Jamil & Yang 2013, no. 17): a rotated quadratic",
        ),
        Landscape(
            "himmelblau",
            "(w1**2 + w2 - 11)**2 + (w1 + w2**2 - 7)**2",
            usual_start=(0.0, 0.0),
            # (3, 2) is exact; the others are roots of the gradient, to the digits of a float
            minima=(
                (3.0, 2.0),
                (-2.805118086952745, 3.131312518250573),
                (-3.779310253377747, -3.283185991286170),
                (3.584428340330492, -1.848126526964404),
            ),
            bounds=((-5.0, 5.0), (-5.0, 5.0)),
            source="Himmelblau 1972: four equal minima",
        ),
        Landscape(
            "rastrigin",
            "20 + w1**2 - 10*cos(2*pi*w1) + w2**2 - 10*cos(2*pi*w2)",
            usual_start=(2.2, -1.8),
            minima=((0.0, 0.0),),
            bounds=((-5.12, 5.12), (-5.12, 5.12)),
            source="Rastrigin 1974: a bowl with many local minima",
        ),
        Landscape(
            "ackley",
            "20 + e - 20*exp(-0.2*sqrt((w1**2 + w2**2)/2)) - exp((cos(2*pi*w1) + cos(2*pi*w2))/2)",
            usual_start=(2.2, -1.8),
            minima=((0.0, 0.0),),
            bounds=((-5.0, 5.0), (-5.0, 5.0)),
            source="Ackley 1987: many local minima around one deep minimum, where it is not differentiable",
        ),
        Landscape(
            "saddle",
            "w1**2 - w2**2",
            usual_start=(1.0, 0.001),
            bounds=((-1.5, 1.5), (-1.5, 1.5)),
            source="a saddle point at the origin, and no minimum",
        ),
        Landscape(
            "plateau",
            "1 - exp(-(w1**2 + w2**2)/2)",
            usual_start=(2.5, 2.5),
            minima=((0.0, 0.0),),
            bounds=((-4.0, 4.0), (-4.0, 4.0)),
            source="a Gaussian well: far from the center the gradient nearly vanishes",
        ),
    )
}
"""The classic losses of two weights, by name."""
