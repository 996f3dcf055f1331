"""Gauges: the norms of gradients, weights and their changes, with as few passes over the memory as can be.

A total comes as a number, or as the norms of all parameters, of which it can be made: those stay on an
accelerator until a block of steps is read, so that no step waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from optitrace.tracing.watching.sharding import local

Norm = float | Tensor
"""The norm over all parameters, or the norm of each, shape (parameters,)."""

SAFE = (1e-30, 1e30)
"""Where the square of a norm is computed without loss in float32."""


class Gauge(Protocol):
    """Measures the parameters of one optimizer. To be used under `torch.no_grad`."""

    def remember(self) -> None:
        """Keep the weights as they are before a step."""

    def gradient(self) -> Norm:
        """Return the norm of the gradients."""

    def moved(self) -> tuple[Norm, Norm]:
        """Return the norms of what the step changed since `remember`, and of the weights after it."""

    def change(self, index: int) -> Tensor:
        """Return how a parameter was changed, once `moved` was asked: weights before minus after."""


def gauge(parameters: Sequence[Tensor], *, by_parameter: bool) -> Gauge:
    """Return the gauge that suits some parameters.

    Args:
        parameters: what is measured.
        by_parameter: whether the norm of each is wanted, not only that of all.
    """
    first = parameters[0]
    is_flat = all(
        type(p.data) is Tensor
        and p.device.type == "cpu"
        and p.dtype == first.dtype
        and p.dtype in (torch.float32, torch.float64)
        and p.is_contiguous()
        and p.numel()
        for p in parameters
    )
    return FlatGauge(parameters) if is_flat and not by_parameter else ListGauge(parameters)


def total(norms: Sequence[float]) -> float:
    """Return the norm of all of which these are the norms of the parts.

    >>> total([3.0, 4.0])
    5.0
    """
    return math.hypot(*norms)


class ListGauge:
    """Measures parameters of any kind, each by itself."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._changes: list[Tensor] = []

    def remember(self) -> None:
        """Keep the weights as they are before a step."""
        self._changes = [p.detach().clone() for p in self._parameters]

    def gradient(self) -> Norm:
        """Return the norm of each gradient, 0 of a parameter that has none."""
        return norms([p.grad for p in self._parameters], self._parameters[0].device)

    def moved(self) -> tuple[Norm, Norm]:
        """Return the norms of the change of each parameter and of each parameter."""
        weights = [p.detach() for p in self._parameters]
        for change, now in zip(self._changes, weights, strict=True):
            change.sub_(now)
        device = weights[0].device
        return norms(self._changes, device), norms(weights, device)

    def change(self, index: int) -> Tensor:
        """Return how a parameter was changed: weights before minus after."""
        return self._changes[index]


class FlatGauge:
    """Measures dense parameters of one dtype in the host's memory, in half the time that it takes by each.

    Weights are copied into one line of numbers, whose sum of squares is one call of the BLAS.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = list(parameters)
        self._before, self._before_parts = _line(parameters)
        self._after, self._after_parts = _line(parameters)
        self._each = ListGauge(parameters)

    def remember(self) -> None:
        """Keep the weights as they are before a step."""
        torch._foreach_copy_(self._before_parts, self._parameters)

    def gradient(self) -> Norm:
        """Return the norm of the gradients."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if not gradients:
            return 0.0
        try:
            each = torch._foreach_norm(gradients)
        except RuntimeError:  # a sparse one
            return self._each.gradient()
        norm = total([n.item() for n in each])
        return norm if 1e-15 < norm < 1e15 else self._each.gradient()

    def moved(self) -> tuple[Norm, Norm]:
        """Return the norms of the change and of the weights."""
        torch._foreach_copy_(self._after_parts, self._parameters)
        weights = _root(torch.dot(self._after, self._after))
        change = _root(torch.dot(self._before.sub_(self._after), self._before))
        device = self._after.device
        return (
            norms(self._before_parts, device) if change is None else change,
            norms(self._after_parts, device) if weights is None else weights,
        )

    def change(self, index: int) -> Tensor:
        """Return how a parameter was changed: weights before minus after."""
        return self._before_parts[index]


def _line(parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return room for all weights in a line, and the parts of it that each parameter has."""
    sizes = [p.numel() for p in parameters]
    line = torch.empty(sum(sizes), dtype=parameters[0].dtype)
    parts = torch.split(line, sizes)
    return line, [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]


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
        return torch._foreach_norm(list(tensors), 2, dtype)
    return [torch.linalg.vector_norm(t.to(dtype) if not t.is_complex() else t).to(dtype) for t in tensors]


def _dense(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor that may be sparse, or split over devices: its part here."""
    if tensor.layout is not torch.strided:
        return tensor.coalesce().values()
    return local(tensor)


def _root(square: Tensor) -> float | None:
    """Return the root of a sum of squares; None if it may have lost digits, or is not finite."""
    value = square.item()
    return math.sqrt(value) if SAFE[0] < value < SAFE[1] else None
