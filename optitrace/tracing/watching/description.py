"""What an optimizer is: its parameters and its hyperparameters, as values that outlive it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.tracing.watching.training import WatchedParameter


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return an optimizer's parameters, group after group."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def hyperparameters_of(optimizer: Optimizer) -> tuple[Mapping[str, Any], ...]:
    """Return each group's hyperparameters as numbers, texts, truth values or lists of them.

    What schedulers keep in a group is left out.
    """
    known = optimizer.defaults
    return tuple(
        {str(name): _plain(value) for name, value in group.items() if name in known}
        for group in optimizer.param_groups
    )


def described(
    sizes: Sequence[int],
    parameters: Sequence[Tensor],
    names: Sequence[str],
    ungraded: Collection[int],
    also_in: Mapping[int, str],
) -> tuple[WatchedParameter, ...]:
    """Return what the parameters of an optimizer are.

    Args:
        sizes: how many parameters each of its groups had.
        parameters: all of those, group after group.
        names: of each.
        ungraded: the places of those that ask for a gradient and never had one.
        also_in: the name of another optimizer that has a parameter too, by the parameter's id.
    """
    numbers = chain.from_iterable([group] * size for group, size in enumerate(sizes))
    return tuple(
        WatchedParameter(
            name=name,
            shape=tuple(p.shape),
            dtype=dtype_name(p.dtype),
            group=group,
            is_frozen=not p.requires_grad,
            had_gradient=k not in ungraded,
            also_in=also_in.get(id(p), ""),
        )
        for k, (name, p, group) in enumerate(zip(names, parameters, numbers, strict=True))
    )


def dtype_name(dtype: torch.dtype) -> str:
    """Return what files and sentences call a dtype.

    >>> dtype_name(torch.float32)
    'float32'
    """
    return str(dtype).removeprefix("torch.")


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.reshape(-1).tolist()
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
