"""Tracks calls of backward: the losses they are called on, and whether a GradScaler had scaled those."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.autograd.graph import Node
from torch.optim import Optimizer

from optitrace.monitoring.torch_internals import is_in_backward

Loss = float | Tensor
"""A loss that was read: a number, or a tensor that is still on an accelerator."""

MOST_UNREAD = 64
"""How many losses wait to be read: an optimizer that takes no step never asks for them."""

SCALE = "grad_scale"
"""The attribute by which a GradScaler passes a fused optimizer the scale that it divides its gradients by."""

FOUND_INF = "found_inf"
"""The attribute by which it passes whether gradients are not finite, so that the step is left out."""


@dataclass(slots=True, eq=False)
class Backward:
    """A backward.

    Attributes:
        loss: what it is called on, before a GradScaler scaled it: a number, a tensor, or a list of such.
        is_scaled: whether one did.
        tracker: what has recorded it.
        root: the name of what computed the loss; empty if it is not one tensor with a graph.
        node: the graph, where that is still to be looked at.
        reached: what follows the optimizers whose parameters it has computed gradients of, by id.
        number: its number among all.
        used_by: those of them that have stepped on its gradient, and how many backwards had begun by then.
    """

    loss: Any
    is_scaled: bool
    tracker: BackwardTracker
    root: str = ""
    node: Node | None = None
    reached: set[int] = field(default_factory=set)
    number: int = 0
    used_by: dict[int, int] = field(default_factory=dict)


class BackwardTracker:
    """Follows the backwards of a program, and what a GradScaler does to their losses.

    Attributes:
        begun: how many backwards have begun.
        keeps_graphs: whether the graphs of backwards are to be looked at later.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.keeps_graphs = False
        self._underway: dict[int, Backward] = {}
        self._losses: list[Any] = []
        self._is_scaled = False
        self._is_used = False
        self._scaler: weakref.ref[GradScaler] | None = None
        self._scaled: weakref.ref[Tensor] | None = None
        self._unscaled: Loss = 0.0

    @property
    def underway(self) -> Backward | None:
        """The backward that goes on, in which an optimizer may step; None if none does in this thread.

        torch may compute it in a thread of its own, and calls hooks there.
        """
        own = self._underway.get(get_ident())
        if own is None and self._underway and is_in_backward():
            return next(reversed(self._underway.values()))
        return own

    def begin(self, tensors: Tensor | Sequence[Tensor]) -> Backward:
        """Record that a backward begins; return it."""
        is_scaled = self._scaled is not None and self._scaled() is tensors
        node = tensors.grad_fn if isinstance(tensors, Tensor) else None
        backward = Backward(
            self._unscaled if is_scaled else _unread(tensors),
            is_scaled,
            self,
            "" if node is None or is_scaled else node.name(),
            node if self.keeps_graphs else None,
            number=self.begun,
        )
        self.begun += 1
        self._underway[get_ident()] = backward
        return backward

    def end(self, backward: Backward, *, is_done: bool) -> None:
        """Record that a backward has ended: it is done, or it has failed."""
        if self._underway.get(get_ident()) is backward:
            del self._underway[get_ident()]
        if is_done:
            if self._is_used:
                self._losses, self._is_used = [], False
            add(self._losses, backward.loss)
            self._is_scaled = backward.is_scaled

    def stepped(self) -> None:
        """Record that an optimizer took a step: backwards that come later are for another one."""
        self._is_used = True

    def source(self) -> Backward | None:
        """Return where gradients that are there now can come from, as one; None if there was no backward.

        It is the one that goes on, and those since the last step; or, if there are none, those before it,
        since several optimizers may step one after another on the gradients of the same.
        """
        if (underway := self.underway) is not None:
            losses = [*([] if self._is_used else self._losses), underway.loss]
            return Backward(losses, underway.is_scaled, self)
        return Backward(list(self._losses), self._is_scaled, self) if self._losses else None

    def scaled(self, scaler: GradScaler, outputs: Any, scaled: Any) -> None:
        """Record that a GradScaler has scaled outputs, of which the loss may be one."""
        self._scaler = weakref.ref(scaler)
        if isinstance(scaled, Tensor):
            self._scaled, self._unscaled = weakref.ref(scaled), loss_value(outputs)

    def scale(self) -> float | None:
        """Return the scale of the last GradScaler, for which a device is waited for; None without any."""
        scaler = None if self._scaler is None else self._scaler()
        return None if scaler is None else scaler.get_scale()


def add(losses: list[Any], loss: Any) -> None:
    """Add a loss to others that may wait for long to be read."""
    losses.append(loss)
    if len(losses) == MOST_UNREAD:
        losses[:] = [loss_value(losses)]


def loss_value(loss: Any) -> Loss:
    """Return the sum of what backward was called on: a number, or a tensor that is on an accelerator."""
    if isinstance(loss, float):
        return loss
    if not isinstance(loss, Tensor):
        values = [loss_value(one) for one in loss]
        return sum(values[1:], values[0]) if values else 0.0
    value = loss.detach() if loss.numel() == 1 else loss.detach().sum()
    return value.item() if value.is_cpu else value.reshape(())


def from_scaler(optimizer: Optimizer, name: str) -> Tensor | None:
    """Return `SCALE` or `FOUND_INF` of an optimizer, a number on its device; None if no scaler passed any."""
    passed = getattr(optimizer, name, None)
    return passed.detach().reshape(()).clone() if isinstance(passed, Tensor) else None


def _unread(tensors: Tensor | Sequence[Tensor]) -> Any:
    """Return what backward is called on, without its graph: of many numbers, their sum.

    The edge of a graph, which stands for a tensor that is gone, has no value.
    """
    if isinstance(tensors, Tensor):
        value = tensors.detach()
        return value if value.numel() == 1 else value.sum()
    return [_unread(tensor) for tensor in tensors if isinstance(tensor, Tensor)]
