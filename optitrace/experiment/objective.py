"""The objective: a differentiable loss of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from optitrace.errors import UsageError
from optitrace.rules.hyperparameter import show

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LossFunction = Callable[["Tensor"], "Tensor"]
"""A loss: from weights of shape (n,) or (1, n) to a scalar of their dtype, differentiable by autograd."""

MOST_TERMS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Quadratic:
    """The loss Σ cᵢ·wᵢ², whose curvature along coordinate i is 2cᵢ.

    Its minimum is 0 at the origin where all coefficients are positive; with a negative one it falls
    without bound.

    Attributes:
        coefficients: the cᵢ, one for each weight; (1, 2) is the documented experiment.

    Raises:
        UsageError: there is no coefficient, or one is not finite.
    """

    coefficients: tuple[float, ...] = (1.0, 2.0)

    name: ClassVar[str] = "quadratic"

    def __post_init__(self) -> None:
        if not self.coefficients:
            raise UsageError("the quadratic has no coefficients; give at least one, as in 1,2.")
        for coefficient in self.coefficients:
            if not math.isfinite(coefficient):
                raise UsageError(f"a coefficient of the quadratic is {coefficient}; all must be finite.")

    @property
    def dimension(self) -> int:
        """The number of weights."""
        return len(self.coefficients)

    @property
    def minima(self) -> tuple[tuple[float, ...], ...]:
        """Where the loss is least, each point with a coordinate for each weight; none if it has no minimum."""
        return ((0.0,) * self.dimension,) if min(self.coefficients) > 0 else ()

    @property
    def curvatures(self) -> tuple[float, ...]:
        """The second derivative along each coordinate, 2cᵢ."""
        return tuple(2 * coefficient for coefficient in self.coefficients)

    @property
    def formula(self) -> str:
        """The loss in mathematical notation.

        >>> Quadratic((1.0, 2.0, -0.5)).formula
        'w1² + 2·w2² − 0.5·w3²'
        """
        if self.dimension > MOST_TERMS_SHOWN:
            shown = ", ".join(show(c) for c in self.coefficients[: MOST_TERMS_SHOWN - 1])
            return f"Σ cᵢ·wᵢ², c = ({shown}, …), {self.dimension} coordinates"
        first, *rest = enumerate(self.coefficients, start=1)
        sign = "−" if first[1] < 0 else ""
        return sign + _term(*first) + "".join(f" {'−' if c < 0 else '+'} {_term(i, c)}" for i, c in rest)

    def loss(self, dtype: torch.dtype, device: torch.device) -> LossFunction:
        """Return the loss as a function of weights of this dtype on this device."""
        import torch

        c = torch.tensor(self.coefficients, dtype=dtype, device=device)

        def loss(w: Tensor) -> Tensor:
            return (c * w * w).sum()

        return loss


def _term(index: int, coefficient: float) -> str:
    """Return one term of the sum, without its sign."""
    factor = "" if abs(coefficient) == 1 else f"{show(abs(coefficient))}·"
    return f"{factor}w{index}²"
