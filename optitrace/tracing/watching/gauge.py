"""What a gauge is: it tells the norms of gradients, weights and their changes.

A total comes as a number, or as the norms of all parameters, of which it can be made: those stay on an
accelerator until a block of steps is read, so that no step waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

Norm = float | list[float] | Tensor
"""The norm over all parameters, or the norm of each, shape (parameters,)."""


class Gauge(Protocol):
    """Measures the parameters of one optimizer."""

    def remember(self) -> None:
        """Keep the weights as they are before a step."""

    def gradient(self) -> Norm:
        """Return the norm of the gradients, 0 of a parameter that has none."""

    def begin(self) -> Norm:
        """Do both, `remember` and `gradient`, as a step does that has its gradient already."""
        self.remember()
        return self.gradient()

    def moved(self, *, keeps: bool = False) -> tuple[Norm, Norm]:
        """Return the norms of what the step changed since `remember`, and of the weights after it.

        Args:
            keeps: whether to keep the weights before it for `before`, if those after it are not all finite;
                to know that, an accelerator is waited for.
        """

    def change(self, index: int) -> Tensor:
        """Return how a parameter was changed, once `moved` was asked: weights before minus after."""

    def before(self, index: int) -> Tensor:
        """Return a parameter before a step that `moved` was asked of: not finite where nothing was kept."""


def total(norms: Sequence[float]) -> float:
    """Return the norm of all of which these are the norms of the parts.

    >>> total([3.0, 4.0])
    5.0
    """
    return math.hypot(*norms)
