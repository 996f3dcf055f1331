"""Whether gradients hold any number other than zero."""

from __future__ import annotations

import torch
from torch import Tensor

from optitrace.monitoring.sharding import local

SAMPLE = 4096
"""How many numbers of a gradient are read to see that it is not zero."""

FEW = 64
"""How many numbers are added sooner by Python than by torch."""


def has_numbers(gradient: Tensor) -> bool:
    """Return whether any number of a gradient is not zero; of one that is split over devices, any here."""
    return bool(numbers(gradient).any())


def is_zero(parameter: Tensor) -> bool:
    """Return whether the gradient of a parameter is zero, or absent."""
    return parameter.grad is None or not has_numbers(parameter.grad)


def is_surely_zero(parameter: Tensor) -> bool:
    """Return whether a gradient that was changed is zero; one on an accelerator is taken for that."""
    return parameter.grad is None or not parameter.grad.is_cpu or not has_numbers(parameter.grad)


def size(gradient: Tensor | None) -> float | None:
    """Return a number that is zero if the first numbers of a gradient are, and not finite if they are not.

    None on an accelerator, which would have to be waited for, and of what cannot be read.
    """
    if gradient is None or not gradient.is_cpu:
        return None
    try:
        if type(gradient) is Tensor and gradient.ndim == 1 and gradient.numel() <= FEW:
            return float(sum(map(abs, gradient.tolist())))  # four times as fast
        here = numbers(gradient)
        if here.numel() > SAMPLE:
            here = here.flatten()[:SAMPLE]
        return float(torch.linalg.vector_norm(here)) if here.numel() else 0.0
    except (RuntimeError, NotImplementedError, TypeError):
        return None


def numbers(gradient: Tensor) -> Tensor:
    """Return the numbers of a gradient that may be sparse, or split over devices: its part here."""
    here = gradient.detach()
    here = local(here) if here.layout is torch.strided else here.coalesce().values()
    return here.float() if here.itemsize == 1 else here  # eight bits are only kept
