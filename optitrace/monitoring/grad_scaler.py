"""What a GradScaler does to losses and gradients, and passes to a fused optimizer."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from optitrace.monitoring.losses import Loss, loss_value, unread

SCALE = "grad_scale"
"""Where an optimizer has the scale that it divides its gradients by."""

FOUND_INF = "found_inf"
"""Where it has whether they are finite: not zero, and it leaves the step out."""


class ScaledLoss:
    """Remembers what the loss was that a GradScaler has multiplied last, and which scaler that was."""

    def __init__(self) -> None:
        self._scaled: weakref.ref[Tensor] | None = None
        self._scaler: weakref.ref[GradScaler] | None = None
        self._unscaled: Loss = 0.0

    def remember(self, scaler: GradScaler, outputs: Any, scaled: Any) -> None:
        """Remember what outputs were before they were scaled."""
        self._scaler = weakref.ref(scaler)
        if isinstance(scaled, Tensor):
            self._scaled, self._unscaled = weakref.ref(scaled), loss_value(outputs)

    def scale(self) -> float | None:
        """Return the scale, for which a device is waited for; None if nothing was scaled."""
        scaler = None if self._scaler is None else self._scaler()
        return None if scaler is None else scaler.get_scale()

    def before_scaling(self, tensors: Tensor | Sequence[Tensor]) -> tuple[Any, bool]:
        """Return the loss that a backward was called on, before it was scaled, and whether it was."""
        if self._scaled is not None and self._scaled() is tensors:
            return self._unscaled, True
        return unread(tensors), False


def told_by_scaler(optimizer: Optimizer, name: str) -> Tensor | None:
    """Return `SCALE` or `FOUND_INF` of an optimizer, a number on its device; None if it was told none."""
    told = getattr(optimizer, name, None)
    return told.detach().reshape(()).clone() if isinstance(told, Tensor) else None
