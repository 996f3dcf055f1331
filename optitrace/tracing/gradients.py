"""The gradient protocols: when the gradient of the weights is computed, and when it is cleared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from optitrace.experiment.objective import LossFunction

Evaluate = Callable[[], Tensor]
"""Puts the gradient for the next step into ``weights.grad`` and returns the loss it belongs to."""


def protocol(name: str, loss: LossFunction, weights: Tensor) -> Evaluate:
    """Return the evaluation that a gradient protocol does before each step."""

    def accumulated() -> Tensor:
        with torch.enable_grad():
            value = loss(weights)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    def fresh() -> Tensor:
        weights.grad = None
        return accumulated()

    if name == "stale":
        value = accumulated().detach()
        return lambda: value
    return fresh if name == "fresh" else accumulated
