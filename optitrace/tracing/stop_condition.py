"""Reaching a target: asked before each step, of the weights as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from optitrace.experiment.experiment import Experiment
from optitrace.experiment.objective import LossFunction


def reaching(experiment: Experiment, loss: LossFunction, weights: Tensor) -> Callable[[], bool]:
    """Return the question whether the weights have reached the experiment's target.

    It looks at the loss, at its gradient (without noise or clipping) or at the distance from the
    nearest minimum, whatever gradient the steps use. On an accelerator the answer waits for the device.
    """
    target = experiment.until
    if target is None:
        return lambda: False
    minima = torch.tensor(experiment.objective.minima, dtype=torch.float64)

    def gradient_norm() -> float:
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(weights), weights)
        return float(gradient.norm())

    def distance() -> float:
        here = weights.detach().reshape(1, -1).to(device="cpu", dtype=torch.float64)
        return float((minima - here).norm(dim=1).min())

    measures = {"loss": lambda: loss(weights).item(), "gradient": gradient_norm, "distance": distance}
    measure, limit = measures[target.quantity], target.limit
    return lambda: measure() < limit
