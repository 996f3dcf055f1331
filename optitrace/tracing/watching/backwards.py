"""The backwards that a program calls: what each is called on, while it goes on and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optitrace.tracing.watching.scaling import ScaledLoss


@dataclass(frozen=True, slots=True, eq=False)
class Backward:
    """A backward.

    Attributes:
        loss: what it is called on, before a GradScaler multiplied it, as `unread` returns it.
        is_scaled: whether one did.
    """

    loss: Any
    is_scaled: bool


class Backwards:
    """Follows the backwards of a program.

    Attributes:
        underway: the one that goes on, in which an optimizer may step: the last begun, where several threads
            train; None if none does.
        scaled_loss: what a GradScaler has multiplied.
    """

    def __init__(self) -> None:
        self.underway: Backward | None = None
        self.scaled_loss = ScaledLoss()

    def begin(self, tensors: Tensor | Sequence[Tensor]) -> Backward:
        """Note that a backward begins; return it."""
        self.underway = Backward(*self.scaled_loss.before_scaling(tensors))
        return self.underway

    def end(self, backward: Backward) -> None:
        """Note that a backward has ended."""
        if self.underway is backward:
            self.underway = None
