"""What an optimizer is: its parameters and its hyperparameters, as values that outlive it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from optitrace.tracing.watching.training import WatchedParameter


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


def described(
    sizes: Sequence[int],
    parameters: Sequence[Tensor],
    shapes: Sequence[Sequence[int]],
    names: Sequence[str],
    ungraded: Collection[int],
    also_in: Mapping[int, str],
) -> tuple[WatchedParameter, ...]:
    """Return what the parameters of an optimizer are.

    Args:
        sizes: how many parameters each group has.
        parameters: group after group.
        shapes: of each, as they were when it was first watched.
        names: of each.
        ungraded: the places of those that ask for a gradient and never had one.
        also_in: the name of another optimizer that has a parameter too, by the parameter's id.
    """
    numbers = chain.from_iterable([g] * size for g, size in enumerate(sizes))
    return tuple(
        WatchedParameter(
            name=name,
            shape=tuple(shape),
            dtype=dtype_name(p.dtype),
            group=group,
            is_frozen=not p.requires_grad,
            had_gradient=k not in ungraded,
            also_in=also_in.get(id(p), ""),
        )
        for k, (name, p, shape, group) in enumerate(zip(names, parameters, shapes, numbers, strict=True))
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
