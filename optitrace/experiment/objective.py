"""The objective: a differentiable loss of the weights, and the quadratic, which is the default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from optitrace.errors import LARGEST_SEED, UsageError, amount, integer
from optitrace.experiment.memory import check_memory
from optitrace.rules.hyperparameter import show

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LossFunction = Callable[["Tensor"], "Tensor"]
"""A loss: from weights of shape (n,) or (1, n) to a scalar of their dtype, differentiable by autograd."""

Point = tuple[float, ...]
"""A place for the weights: a number for each coordinate."""

MOST_COORDINATES = 10_000_000
"""The largest dimension: more numbers than a trace of one vector is made for."""

MOST_TERMS_SHOWN = 6


class Objective(Protocol):
    """A loss of the weights, as a frozen value; everything but `loss` needs no torch."""

    @property
    def name(self) -> str:
        """The kind of loss."""

    @property
    def dimension(self) -> int:
        """The number of weights."""

    @property
    def formula(self) -> str:
        """The loss in mathematical notation."""

    @property
    def usual_start(self) -> Point | None:
        """The usual start; None if there is none."""

    @property
    def minima(self) -> tuple[Point, ...]:
        """The known points of its minimum."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its settings in a trace file, from which it can be recreated."""

    def loss(self, dtype: torch.dtype, device: torch.device) -> LossFunction:
        """Return the loss as a function of weights of this dtype on this device."""


@dataclass(frozen=True, slots=True)
class Quadratic:
    """The loss Σ cᵢ·uᵢ², whose curvature along uᵢ is 2cᵢ; u is w, or a rotation of w.

    Its minimum is 0 at the origin where all coefficients are positive; with a negative one it falls
    without bound.

    Attributes:
        coefficients: the cᵢ, one for each weight; (1, 2) is the documented experiment.
        rotation: the seed of the rotation; None for a quadratic along the axes.

    Raises:
        UsageError: there is no coefficient, one is not finite, or the rotation is no seed.
    """

    coefficients: tuple[float, ...] = (1.0, 2.0)
    rotation: int | None = None

    name: ClassVar[str] = "quadratic"
    usual_start: ClassVar[Point | None] = None

    def __post_init__(self) -> None:
        if not self.coefficients:
            raise UsageError("the quadratic has no coefficients; give at least one, as in 1,2.")
        for coefficient in self.coefficients:
            if not math.isfinite(coefficient):
                raise UsageError(f"a coefficient of the quadratic is {coefficient}; all must be finite.")
        if self.rotation is not None:
            integer("rotate", self.rotation, most=LARGEST_SEED)

    @property
    def dimension(self) -> int:
        """The number of weights."""
        return len(self.coefficients)

    @property
    def minima(self) -> tuple[Point, ...]:
        """Where the loss is least: points with a coordinate for each weight; none if it has no minimum."""
        return ((0.0,) * self.dimension,) if min(self.coefficients) > 0 else ()

    @property
    def curvatures(self) -> tuple[float, ...]:
        """The second derivative along each uᵢ, 2cᵢ."""
        return tuple(2 * coefficient for coefficient in self.coefficients)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its settings in a trace file."""
        settings: dict[str, Any] = {"name": self.name, "coefficients": self.coefficients}
        return settings if self.rotation is None else {**settings, "rotation": self.rotation}

    @property
    def formula(self) -> str:
        """The loss in mathematical notation.

        >>> Quadratic((1.0, 2.0, -0.5)).formula
        'w1² + 2·w2² − 0.5·w3²'
        """
        if self.dimension > MOST_TERMS_SHOWN or self.rotation is not None:
            shown = [f"{c:.4g}" for c in self.coefficients[: MOST_TERMS_SHOWN - 1]]
            if self.dimension >= MOST_TERMS_SHOWN:
                shown.append(f"…, {self.coefficients[-1]:.4g}")
            u, turned = (
                ("w", "") if self.rotation is None else ("u", f", u = w rotated by seed {self.rotation}")
            )
            return f"Σ cᵢ·{u}ᵢ², c = ({', '.join(shown)}), {self.dimension} coordinates{turned}"
        first, *rest = enumerate(self.coefficients, start=1)
        sign = "−" if first[1] < 0 else ""
        return sign + _term(*first) + "".join(f" {'−' if c < 0 else '+'} {_term(i, c)}" for i, c in rest)

    def loss(self, dtype: torch.dtype, device: torch.device) -> LossFunction:
        """Return the loss as a function of weights of this dtype on this device."""
        import torch

        c = torch.tensor(self.coefficients, dtype=dtype, device=device)

        def loss(w: Tensor) -> Tensor:
            return (c * w * w).sum()

        if self.rotation is None:
            return loss
        q = rotation(self.dimension, self.rotation).to(dtype=dtype, device=device)
        return lambda w: loss(q @ w.reshape(-1))

    def principal(self, point: Point) -> Point:
        """Return a point in the coordinates u, along which the quadratic has no mixed terms."""
        if self.rotation is None:
            return point
        import torch

        turned = rotation(self.dimension, self.rotation) @ torch.tensor(point, dtype=torch.float64)
        return tuple(turned.tolist())


def check_dimension(dimension: int) -> None:
    """Refuse a number of weights that no run can have.

    Raises:
        UsageError: it is not from 1 to `MOST_COORDINATES`.
    """
    integer("the dimension", dimension, least=1, most=MOST_COORDINATES)


def spread(dimension: int, condition: float) -> Point:
    """Return coefficients from 1/condition to 1, logarithmically spaced.

    The largest curvature is 2 whatever the condition number, so that a usual lr is stable.

    >>> spread(3, 100.0)
    (0.01, 0.1, 1.0)

    Raises:
        UsageError: there is no such quadratic.
    """
    check_dimension(dimension)
    if amount("the condition number", condition) < 1:
        raise UsageError(f"the condition number is {show(condition)}; it must be at least 1.")
    if dimension == 1:
        return (1.0,)
    return tuple(condition ** (k / (dimension - 1) - 1) for k in range(dimension))


def rotation(dimension: int, seed: int) -> Tensor:
    """Return a random rotation of float64, the same for the same seed.

    The Q of the QR decomposition of a Gaussian matrix, with the signs that make it uniform over all
    (Mezzadri 2007, arXiv:math-ph/0609050).

    Raises:
        DeviceError: this machine has not the memory for it.
    """
    matrices = 4  # the Gaussian one, Q, R, and the result
    check_memory(
        f"the rotation of {dimension:,} coordinates", matrices * 8 * dimension**2, "use fewer coordinates"
    )
    import torch

    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    turned: Tensor = q * r.diagonal().sign()
    return turned


def _term(index: int, coefficient: float) -> str:
    """Return one term of the sum, without its sign."""
    factor = "" if abs(coefficient) == 1 else f"{show(abs(coefficient))}·"
    return f"{factor}w{index}²"
