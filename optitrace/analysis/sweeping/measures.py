"""The measures of configurations, such as their loss, and the measures that they are ranked by."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from optitrace.analysis.sweeping.space import Space
from optitrace.errors import UsageError, amount, one_of
from optitrace.experiment.objective import Objective, Point, Quadratic

RANKS: Mapping[str, str] = {
    "final_loss": "the loss after the last step",
    "steps": "steps until the loss is within the tolerance of its minimum",
    "distance": "distance of the last weights from the nearest minimum",
    "path": "path length until the loss is within the tolerance of its minimum",
}
"""The measures that configurations can be ranked by, smallest first."""

CONVERGED, ON_THE_WAY, DIVERGED = range(3)


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of a sweep.

    Attributes:
        rank: the measure that it ranks by, a key of `RANKS`.
        tolerance: the distance from the loss at the minimum that counts as converged.
    """

    rank: str = "final_loss"
    tolerance: float = 1e-6


USUAL_GOAL = Goal()
"""The least final loss."""


def check_goal(goal: Goal, space: Space) -> Goal:
    """Return a goal that the configurations of a space can be ranked by.

    Raises:
        UsageError: the rank is unknown, the tolerance is invalid, or the rank needs an unknown minimum.
    """
    one_of("rank", goal.rank, RANKS)
    amount("tolerance", goal.tolerance)
    if goal.rank != "final_loss" and not space.minima:
        fact = (
            "the configurations share no known minimum"
            if space.base.objective.minima
            else f"no minimum of {space.base.objective.formula} is known"
        )
        raise UsageError(f"{fact}, which the rank {goal.rank} needs; rank by final_loss.")
    return goal


class Observer:
    """Observes a batch of configurations, and measures only what the goal needs.

    The measures, by name, each of shape (configurations,) and float64: `final_loss`; `distance` where a
    minimum is known; `steps` and `path` where they are the rank; and `outcome`, one of CONVERGED,
    ON_THE_WAY and DIVERGED.
    """

    def __init__(
        self, goal: Goal, minima: Collection[Point], loss: Callable[[Tensor], Tensor], w: Tensor
    ) -> None:
        """Begin a run.

        Args:
            goal: what is to be measured.
            minima: those of the loss, as far as they are known.
            loss: the loss of weights shaped as `w`, shape (configurations,).
            w: the weights before step 1, shape (configurations, n), or (configurations, 1, n).
        """
        self._goal = goal
        self._loss = loss
        self._minima = torch.tensor([*minima], dtype=torch.float64, device=w.device)
        self._least = float(loss(_like(self._minima[0], w)).min()) if len(minima) else math.nan
        self._initial = loss(w)
        if self.follows_steps:
            self._first = torch.where(self._is_close(self._initial), 0.0, torch.inf).double()
            self._path = torch.zeros(len(w), dtype=torch.float64, device=w.device)

    @property
    def follows_steps(self) -> bool:
        """Whether it observes each step, not just the last weights."""
        return self._goal.rank in ("steps", "path")

    def after_step(self, step: int, before: Tensor, after: Tensor) -> None:
        """Record what a step did."""
        if self._goal.rank == "path":
            length = _norm(after - before)
            self._path = self._path + torch.where(torch.isinf(self._first), length, 0.0)
        if self.follows_steps:
            reached = self._is_close(self._loss(after)) & torch.isinf(self._first)
            self._first = torch.where(reached, float(step), self._first)

    def measures(self, w: Tensor) -> dict[str, Tensor]:
        """Return the measures by name, given the last weights."""
        final = self._loss(w)
        measures = {"final_loss": final.double(), "outcome": self._outcome(final)}
        if len(self._minima):
            distances = [_norm(w - _like(minimum, w)) for minimum in self._minima]
            measures["distance"] = torch.stack(distances).amin(0)
        if self._goal.rank == "steps":
            measures["steps"] = self._first
        if self._goal.rank == "path":
            measures["path"] = torch.where(torch.isinf(self._first), torch.inf, self._path)
        return measures

    def _is_close(self, loss: Tensor) -> Tensor:
        return (loss.double() - self._least).abs() <= self._goal.tolerance

    def _outcome(self, final: Tensor) -> Tensor:
        is_gone = ~torch.isfinite(final) | (final > self._initial)
        outcome = torch.where(is_gone, DIVERGED, ON_THE_WAY)
        return torch.where(self._is_close(final), CONVERGED, outcome)


def _norm(w: Tensor) -> Tensor:
    return w.reshape(-1, w.shape[-1]).double().square().sum(-1).sqrt()


def _like(point: Tensor, w: Tensor) -> Tensor:
    """Return a point in the place of each configuration's weights."""
    return point.to(w.dtype).expand_as(w)


@dataclass(frozen=True, slots=True)
class BatchedLoss:
    """A loss of weights of shape (configurations, n) or (configurations, 1, n).

    Attributes:
        value: the loss of each configuration, shape (configurations,).
        gradient: its gradient, shaped as the weights.
        curvature: the factor of the weights that gives it, shape (n,) or (configurations, n); None
            if the gradient is not linear in each weight.
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
    """Return Σ cᵢ·wᵢ² and its gradient 2cᵢ·wᵢ, bit for bit that of autograd."""
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
