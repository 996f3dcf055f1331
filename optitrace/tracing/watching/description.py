"""What an optimizer is: its parameters and its hyperparameters, as values that outlive it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer


def groups_of(optimizer: Optimizer) -> list[list[Tensor]]:
    """Return the parameters of each group that have numbers: not those on ``meta``, and no lazy ones yet."""
    return [
        [p for p in group["params"] if not p.is_meta and not is_lazy(p)] for group in optimizer.param_groups
    ]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return an optimizer's parameters that have numbers, group after group."""
    return [p for group in groups_of(optimizer) for p in group]


def hyperparameters_of(optimizer: Optimizer) -> tuple[Mapping[str, Any], ...]:
    """Return each group's hyperparameters as numbers, texts, truth values or lists of them.

    What schedulers keep in a group is left out.
    """
    known = optimizer.defaults
    return tuple(
        {str(name): _plain(value) for name, value in group.items() if name in known}
        for group in optimizer.param_groups
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.reshape(-1).tolist()
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
