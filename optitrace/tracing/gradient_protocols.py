"""Gradient protocols: when the gradient of a step is computed, its noise, and its clipping."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from optitrace.experiment.experiment import Experiment
from optitrace.experiment.objective import LossFunction

Evaluate = Callable[[], Tensor]
"""Puts the gradient for the next step into ``weights.grad`` and returns the loss it belongs to."""

Clip = Callable[[], Tensor]
"""Clips ``weights.grad`` in place and returns the unclipped gradient."""


def protocol(
    experiment: Experiment, loss: LossFunction, weights: Tensor, *, create_graph: bool = False
) -> Evaluate:
    """Return the evaluation that the experiment's gradient protocol does before each step.

    With `create_graph` the gradient can itself be differentiated, as second-order optimizers need it.
    """
    add_noise = _noise(experiment, weights)
    backward = _backward_with_graph if create_graph else Tensor.backward

    def accumulated() -> Tensor:
        with torch.enable_grad():
            value = loss(weights)
        backward(value)
        if add_noise is not None:
            add_noise()
        return value

    def fresh() -> Tensor:
        weights.grad = None
        return accumulated()

    if experiment.gradient == "stale":
        value = accumulated().detach()
        return lambda: value
    return fresh if experiment.gradient == "fresh" else accumulated


def clipping(experiment: Experiment, weights: Tensor) -> Clip | None:
    """Return the clipping of the experiment, by norm and then by value; None if there is none."""
    norm, value = experiment.clip_norm, experiment.clip_value
    if norm is None and value is None:
        return None

    def clip() -> Tensor:
        assert weights.grad is not None
        before = weights.grad.clone()
        if norm is not None:
            clip_grad_norm_([weights], norm)
        if value is not None:
            clip_grad_value_([weights], value)
        return before

    return clip


def _backward_with_graph(loss: Tensor) -> None:
    """Compute a gradient that can be differentiated; the leak that torch warns of ends with the run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
        loss.backward(create_graph=True)  # type: ignore[no-untyped-call]


def _noise(experiment: Experiment, weights: Tensor) -> Callable[[], None] | None:
    """Return what adds noise to a gradient: drawn on the CPU, so that it is the same on every device."""
    if not experiment.noise:
        return None
    generator = torch.Generator().manual_seed(experiment.seed)

    def add_noise() -> None:
        assert weights.grad is not None
        drawn = torch.randn(weights.shape, generator=generator, dtype=torch.float64) * experiment.noise
        with torch.no_grad():
            weights.grad.add_(drawn.to(dtype=weights.dtype, device=weights.device))

    return add_noise
