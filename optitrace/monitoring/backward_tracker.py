"""Tracks calls of backward: the tensors of each, during the call and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from optitrace.monitoring.grad_scaler import ScaledLoss
from optitrace.monitoring.losses import add


class Backward(NamedTuple):
    """A backward.

    Attributes:
        loss: what it is called on, before a GradScaler multiplied it, as `unread` returns it.
        is_scaled: whether one did.
    """

    loss: Any
    is_scaled: bool


class BackwardTracker:
    """Follows the backwards of a program.

    Attributes:
        underway: the one that goes on, in which an optimizer may step: the last begun, where several threads
            train; None if none does.
        scaled_loss: what a GradScaler has multiplied.
    """

    def __init__(self) -> None:
        self.underway: Backward | None = None
        self.scaled_loss = ScaledLoss()
        self._losses: list[Any] = []
        self._is_scaled = False
        self._is_used = False

    def begin(self, tensors: Tensor | Sequence[Tensor]) -> Backward:
        """Record that a backward begins; return it."""
        backward = self.underway = Backward(*self.scaled_loss.before_scaling(tensors))
        return backward

    def end(self, backward: Backward, *, is_done: bool) -> None:
        """Record that a backward has ended: it is done, or it has failed."""
        if self.underway is backward:
            self.underway = None
        if is_done:
            if self._is_used:
                self._losses, self._is_used = [], False
            add(self._losses, backward.loss)
            self._is_scaled = backward.is_scaled

    def stepped(self) -> None:
        """Record that an optimizer took a step: backwards that come later are for another one."""
        self._is_used = True

    def heard(self) -> Backward | None:
        """Return what gradients can come from that are there now, as one; None if there was no backward.

        It is that which goes on, and those since the last step; or, if there are none, those before it, since
        several optimizers may step one after another on the gradients of the same.
        """
        if self.underway is not None:
            losses = [*([] if self._is_used else self._losses), self.underway.loss]
            return Backward(losses, self.underway.is_scaled)
        return Backward(list(self._losses), self._is_scaled) if self._losses else None
