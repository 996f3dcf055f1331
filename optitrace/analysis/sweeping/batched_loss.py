"""The loss of many configurations at once, and its gradient, each with weights of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from optitrace.experiment.objective import Objective, Quadratic


@dataclass(frozen=True, slots=True)
class BatchedLoss:
    """A loss of weights of shape (configurations, n) or (configurations, 1, n).

    Attributes:
        value: the loss of each configuration, shape (configurations,).
        gradient: its gradient, shaped as the weights.
        curvature: what the weights are multiplied by to give it, shape (n,) or (configurations, n); None
            if it is not as simple as that.
    """

    value: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor], Tensor]
    curvature: Tensor | None = None


def batched_loss(
    objective: Objective, dtype: torch.dtype, device: torch.device, coefficients: Tensor | None = None
) -> BatchedLoss:
    """Return the loss of many configurations at once.

    Args:
        objective: the loss of one.
        dtype: of the weights.
        device: of the weights.
        coefficients: those of a quadratic in each configuration, shape (configurations, n), if they differ.
    """
    if isinstance(objective, Quadratic) and objective.rotation is None:
        if coefficients is None:
            coefficients = torch.tensor(objective.coefficients, dtype=dtype, device=device)
        return _quadratic(coefficients)
    return _by_autograd(objective, dtype, device)


def _quadratic(c: Tensor) -> BatchedLoss:
    """Return Σ cᵢ·wᵢ² and its gradient 2cᵢ·wᵢ, which has the very bits that autograd gives."""
    twice = 2 * c

    def value(w: Tensor) -> Tensor:
        terms = c * w.reshape(-1, w.shape[-1])
        return (terms * w.reshape(-1, w.shape[-1])).sum(-1)

    def gradient(w: Tensor) -> Tensor:
        return (twice.unsqueeze(1) if twice.ndim == 2 and w.ndim == 3 else twice) * w

    return BatchedLoss(value, gradient, twice)


def _by_autograd(objective: Objective, dtype: torch.dtype, device: torch.device) -> BatchedLoss:
    with torch.inference_mode(False):  # what a loss keeps, as a rotation, is to be differentiated through
        batched = torch.func.vmap(objective.loss(dtype, device))

    def value(w: Tensor) -> Tensor:
        losses: Tensor = batched(w)
        return losses

    def gradient(w: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            leaf = w.clone().requires_grad_()
            [found] = torch.autograd.grad(batched(leaf).sum(), leaf)
        return found

    return BatchedLoss(value, gradient)
