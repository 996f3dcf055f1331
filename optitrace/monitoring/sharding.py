"""Tensors that are split over several processes: DTensors, as FSDP2 has them, and the parameters of FSDP1.

Whoever computes with a whole one makes all processes talk to each other; what only watches must not do that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from optitrace.monitoring.torch_internals import is_flattened


def is_sharded(tensor: Tensor) -> bool:
    """Return whether a process has only a part of a tensor."""
    placements = getattr(tensor, "placements", ())
    return any(not placement.is_replicate() for placement in placements) or is_flattened(tensor)


def local(tensor: Tensor) -> Tensor:
    """Return what this process has of a tensor, outside the graph: all of it, if it is not split.

    Of one whose memory was given back, as ``untyped_storage().resize_(0)`` does, these are zeros: who reads
    that ends the process.
    """
    part: Tensor = getattr(tensor, "to_local", lambda: tensor)()
    return part.new_zeros(part.shape) if _is_released(part) else part.detach()


def _is_released(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and tensor.numel() > 0 and tensor.untyped_storage().nbytes() == 0
