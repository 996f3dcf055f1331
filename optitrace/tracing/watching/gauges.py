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

Norm = float | list[float] | Tensor
"""The norm over all parameters, or the norm of each, shape (parameters,)."""


class Gauge(Protocol):
    """Measures the parameters of one optimizer."""

    def remember(self) -> None:
        """Keep the weights as they are before a step."""

    def gradient(self) -> Norm:
        """Return the norm of the gradients, 0 of a parameter that has none."""

    def begin(self) -> Norm:
        """Do both, `remember` and `gradient`, as a step does that has its gradient already."""

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
    from optitrace.tracing.watching.flat_gauge import FlatGauge
    from optitrace.tracing.watching.list_gauge import ListGauge
    from optitrace.tracing.watching.native_gauge import native_gauge

    if not _are_plain(parameters):
        return ListGauge(parameters)
    native = native_gauge(parameters)
    if native is not None:
        return native
    return ListGauge(parameters) if by_parameter else FlatGauge(parameters)


def total(norms: Sequence[float]) -> float:
    """Return the norm of all of which these are the norms of the parts.

    >>> total([3.0, 4.0])
    5.0
    """
    return math.hypot(*norms)


def _are_plain(parameters: Sequence[Tensor]) -> bool:
    """Tell whether parameters are dense, of one dtype, and in the host's memory number after number."""
    dtype = parameters[0].dtype
    return dtype in (torch.float32, torch.float64) and all(
        type(p.data) is Tensor
        and p.device.type == "cpu"
        and p.dtype == dtype
        and p.is_contiguous()
        and p.numel()
        for p in parameters
    )
