"""The numbers of tensors that may be sparse, of eight bits, on an accelerator, released, or sharded.

Sharded are DTensors, as FSDP2 has them, and the parameters of FSDP1. Whoever computes with a whole one makes
all processes talk to each other, so that only the part of this process is read.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter

from optitrace.monitoring.torch_internals import is_flattened

SAMPLE = 4096
"""How many numbers of a gradient `size` reads."""

_PLAIN = (Tensor, Parameter)
"""The classes of most tensors, which have no other part."""

FEW = 64
"""How many numbers are added sooner by Python than by torch."""


def is_sharded(tensor: Tensor) -> bool:
    """Return whether a process has only a part of a tensor."""
    placements = getattr(tensor, "placements", ())
    return any(not placement.is_replicate() for placement in placements) or is_flattened(tensor)


def local(tensor: Tensor) -> Tensor:
    """Return what this process has of a tensor, outside the graph: all of it, if it is not sharded.

    Of one whose memory was given back, as ``untyped_storage().resize_(0)`` does, these are zeros: reading
    that would end the process.
    """
    part: Tensor = tensor if type(tensor) in _PLAIN else getattr(tensor, "to_local", lambda: tensor)()
    if part.layout is torch.strided and not part.untyped_storage().nbytes() and part.numel():
        return part.new_zeros(part.shape)
    return part.detach()


def numbers(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor as torch computes with them, of a sparse one its values; no graph."""
    is_plain = type(tensor) in _PLAIN and tensor.layout is torch.strided and tensor.itemsize > 1
    if is_plain and tensor.untyped_storage().nbytes():
        return tensor.detach() if torch.is_grad_enabled() else tensor
    here = local(tensor) if tensor.layout is torch.strided else tensor.detach().coalesce().values()
    return here.float() if here.itemsize == 1 and here.is_floating_point() else here  # these are only kept


def has_numbers(gradient: Tensor) -> bool:
    """Return whether any number of a gradient is not zero."""
    return bool(numbers(gradient).any())


def is_zero(parameter: Tensor) -> bool:
    """Return whether the gradient of a parameter is zero, or absent."""
    return parameter.grad is None or not has_numbers(parameter.grad)


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
