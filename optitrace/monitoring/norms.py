"""The norms of a step: of gradients, weights and their changes, each parameter by itself, in float64.

They stay on an accelerator until a block of steps is read, so that no step waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from optitrace.monitoring.sharding import local
from optitrace.monitoring.torch_internals import foreach_norm


class StepNorms:
    """Measures the parameters of one optimizer by torch's operations on lists of tensors."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._changes: list[Tensor] = []
        self._before: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Keep the weights as they are before a step."""
        self._changes = [_wide(local(p)).clone() for p in self._parameters]

    @torch.no_grad()
    def gradient(self) -> Tensor:
        """Return the norm of each gradient, shape (parameters,), 0 of a parameter that has none."""
        return norms([p.grad for p in self._parameters], self._parameters[0].device)

    @torch.no_grad()
    def moved(self, *, keeps: bool = False) -> tuple[Tensor, Tensor]:
        """Return the norms of what the step changed of each parameter, and of each parameter after it.

        Args:
            keeps: whether to keep the weights before the step for `before`, if those after it are not all
                finite; to know that, an accelerator is waited for.
        """
        weights = [_wide(local(p)) for p in self._parameters]
        device = weights[0].device
        weight_norms = norms(weights, device)
        is_broken = keeps and not math.isfinite(weight_norms.sum().item())
        self._before = [weights.clone() for weights in self._changes] if is_broken else []
        for change, now in zip(self._changes, weights, strict=True):
            change.sub_(now)
        return norms(self._changes, device), weight_norms

    def change(self, index: int) -> Tensor:
        """Return how a parameter was changed, once `moved` was called: weights before minus after."""
        return self._changes[index]

    def before(self, index: int) -> Tensor:
        """Return a parameter before the step, to within rounding if that was not kept."""
        return self._before[index] if self._before else self._changes[index] + local(self._parameters[index])


def total(norms: Sequence[float]) -> float:
    """Return the norm of all of which these are the norms of the parts.

    >>> total([3.0, 4.0])
    5.0
    """
    return math.hypot(*norms)


def norms(tensors: Sequence[Tensor | None], device: torch.device) -> Tensor:
    """Return the norm of each tensor, 0 for None, in float64 where the device is the host.

    Args:
        tensors: dense or sparse, of any dtypes.
        device: where the norms are gathered.
    """
    dtype = torch.float64 if device.type == "cpu" else torch.float32
    present = [_dense(t) for t in tensors if t is not None]
    if not present:
        return torch.zeros(len(tensors), dtype=dtype, device=device)
    each = [norm.to(device=device) for norm in _norms(present, dtype)]
    if len(each) == len(tensors):
        return torch.stack(each)
    found = iter(each)
    zero = torch.zeros((), dtype=dtype, device=device)
    return torch.stack([zero if t is None else next(found) for t in tensors])


def _norms(tensors: Sequence[Tensor], dtype: torch.dtype) -> Sequence[Tensor]:
    if len({(t.device, t.dtype) for t in tensors}) == 1 and tensors[0].is_floating_point():
        return foreach_norm(list(tensors), dtype)
    return [torch.linalg.vector_norm(t.to(dtype) if not t.is_complex() else t).to(dtype) for t in tensors]


def _dense(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor that may be sparse, or split over devices: its part here."""
    if tensor.layout is not torch.strided:
        return tensor.coalesce().values()
    return local(tensor)


def _wide(tensor: Tensor) -> Tensor:
    """Return numbers that torch computes with: those of eight bits it only keeps."""
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor
