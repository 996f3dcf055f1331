"""The gauge for dense parameters in the host's memory, by torch: half the time that it takes one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from optitrace.tracing.watching.gauge import Gauge, Norm, total
from optitrace.tracing.watching.list_gauge import ListGauge, norms
from optitrace.tracing.watching.sharding import local
from optitrace.tracing.watching.torch_internals import foreach_copy_, foreach_norm

PART = 1 << 14
"""How many squares are added in float32: a sum of millions has no more than three digits of it right."""

SAFE = (1e-15, 1e15)
"""Between which a norm has a square that float32 holds without loss."""


class FlatGauge(Gauge):
    """Measures parameters of one dtype, each number after number.

    Weights are copied into one line of numbers, whose sum of squares is one call of the BLAS.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = list(parameters)
        self._before, self._before_parts = line(parameters)
        self._after, self._after_parts = line(parameters)
        self._each = ListGauge(parameters)
        self._kept: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Keep the weights as they are before a step."""
        foreach_copy_(self._before_parts, [local(p) for p in self._parameters])

    @torch.no_grad()
    def gradient(self) -> Norm:
        """Return the norm of the gradients."""
        gradients = [local(p.grad) for p in self._parameters if p.grad is not None]
        if not gradients:
            return 0.0
        try:
            each = foreach_norm([part for g in gradients for part in _parts(g)])
        except RuntimeError:  # a sparse one
            return self._each.gradient()
        norm = total([n.item() for n in each])
        return norm if _is_safe(norm) else self._each.gradient()

    @torch.no_grad()
    def moved(self, *, keeps: bool = False) -> tuple[Norm, Norm]:
        """Return the norms of the change and of the weights."""
        foreach_copy_(self._after_parts, [local(p) for p in self._parameters])
        weights = _root(self._after)
        is_broken = keeps and weights is None and not bool(self._after.isfinite().all())
        self._kept = [part.clone() for part in self._before_parts] if is_broken else []
        change = _root(self._before.sub_(self._after))
        device = self._after.device
        return (
            norms(self._before_parts, device) if change is None else change,
            norms(self._after_parts, device) if weights is None else weights,
        )

    def change(self, index: int) -> Tensor:
        """Return how a parameter was changed: weights before minus after."""
        return self._before_parts[index]

    def before(self, index: int) -> Tensor:
        """Return a parameter before the step, to within rounding if that was not kept."""
        return self._kept[index] if self._kept else self._before_parts[index] + self._after_parts[index]


def line(parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return room for all weights in a line, and the parts of it that each parameter has."""
    sizes = [p.numel() for p in parameters]
    whole = torch.empty(sum(sizes), dtype=parameters[0].dtype)
    parts = torch.split(whole, sizes)
    return whole, [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]


def _parts(tensor: Tensor) -> Sequence[Tensor]:
    """Return the parts of a tensor whose squares are added by themselves."""
    return (tensor,) if tensor.numel() <= PART else torch.split(tensor.reshape(-1), PART)


def _root(numbers: Tensor) -> float | None:
    """Return the norm of numbers in a line; None if it may have lost digits, or is not finite."""
    root = math.sqrt(math.fsum([torch.dot(part, part).item() for part in _parts(numbers)]))
    return root if _is_safe(root) else None


def _is_safe(norm: float) -> bool:
    return SAFE[0] < norm < SAFE[1]
