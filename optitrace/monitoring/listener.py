"""The interface of a listener: the events that the torch hooks report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn import Module
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from optitrace.monitoring.backward_tracker import Backward
from optitrace.monitoring.clipping_tracker import ClippingCall

StepArguments = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional arguments of a step, the optimizer first, and those by name."""


class Listener(Protocol):
    """Receives the events of optimizers, gradients and schedulers."""

    def unobserved(self, loss: str, *, is_blind: bool = False) -> None:
        """Something, or everything, cannot be observed with this torch: a sentence says what, and why."""

    def module_made(self, module: Module) -> None:
        """A module is given a parameter or another module, or came to be as a copy; told again and again."""

    def made(self, optimizer: Optimizer) -> None:
        """An optimizer was constructed."""

    def before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> StepArguments | None:
        """A step begins; other arguments for it may be returned."""

    def after_step(self, optimizer: Optimizer) -> None:
        """A step is done."""

    def before_backward(self, tensors: Tensor | Sequence[Tensor]) -> Backward:
        """The gradients of these tensors are about to be computed; what is returned is given back after."""

    def after_backward(self, backward: Backward, is_done: bool) -> None:
        """They were computed, or that has failed."""

    def zeroed(self, owner: Optimizer | Module) -> None:
        """`zero_grad` of an optimizer or a module was called."""

    def scaled(self, scaler: GradScaler, outputs: Any, scaled: Any) -> None:
        """A GradScaler has multiplied outputs."""

    def unscaled(self, optimizer: Optimizer) -> None:
        """A GradScaler has divided an optimizer's gradients."""

    def before_scaler_step(self, optimizer: Optimizer) -> None:
        """A GradScaler is about to step an optimizer, or to leave the step out."""

    def after_scaler_step(self, optimizer: Optimizer, is_done: bool) -> None:
        """It has stepped the optimizer, skipped the step, or failed."""

    def before_clipping(self, parameters: Sequence[Tensor], limit: float) -> ClippingCall:
        """The gradients of parameters are about to be clipped; what is returned is given back after."""

    def after_clipping(self, call: ClippingCall, measured: Tensor) -> None:
        """They were, where what was measured, their norm or their largest value, was above the limit."""

    def scheduler_made(self, scheduler: LRScheduler) -> None:
        """A scheduler was constructed."""

    def scheduler_stepped(self, scheduler: LRScheduler) -> None:
        """The program has stepped a scheduler."""
