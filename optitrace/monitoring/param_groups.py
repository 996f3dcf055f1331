"""Parameters and hyperparameters of an optimizer as values that outlive it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from optitrace.errors import printable


def groups_of(optimizer: Optimizer) -> list[list[Tensor]]:
    """Return the parameters of each group that have numbers: not those on ``meta``, and no lazy ones yet."""
    return [
        [p for p in group["params"] if not p.is_meta and not is_lazy(p)] for group in optimizer.param_groups
    ]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return an optimizer's parameters that have numbers, group after group."""
    return [p for group in groups_of(optimizer) for p in group]


def class_name(thing: object) -> str:
    """Return the name of the class of an optimizer or a scheduler, which a program can make of any text."""
    return shown_name(type(thing).__name__)


def shown_name(name: str) -> str:
    """Return a name that a program gives as it is shown: printable, and not empty."""
    return printable(name) or "unnamed"


def hyperparameters_of(optimizer: Optimizer) -> tuple[Mapping[str, Any], ...]:
    """Return each group's hyperparameters as numbers, texts, truth values or lists of them.

    What schedulers keep in a group is left out.
    """
    known = optimizer.defaults
    return tuple(
        {printable(str(name)): _plain(value) for name, value in group.items() if name in known}
        for group in optimizer.param_groups
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.reshape(-1).tolist()
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value if isinstance(value, bool | int | float | None) else printable(str(value))
