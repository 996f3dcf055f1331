"""The losses on which backward is called: kept as tensors, and read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

Loss = float | Tensor
"""A loss that was read: a number, or a tensor that is still on an accelerator."""

MOST_UNREAD = 64
"""How many losses wait to be read: an optimizer that takes no step never asks for them."""


def unread(tensors: Tensor | Sequence[Tensor]) -> Any:
    """Return what backward is called on, without the graph that it hangs on: of many numbers, their sum.

    The edge of a graph, which stands for a tensor that is gone, has no value.
    """
    if isinstance(tensors, Tensor):
        value = tensors.detach()
        return value if value.numel() == 1 else value.sum()
    return [unread(tensor) for tensor in tensors if isinstance(tensor, Tensor)]


def add(losses: list[Any], loss: Any) -> None:
    """Add a loss to others that may wait for long to be asked for."""
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
    value = loss if loss.numel() == 1 else loss.detach().sum()
    return value.item() if value.is_cpu else value.detach().reshape(())
