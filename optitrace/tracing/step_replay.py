"""The replay of an optimizer's step on other tensors, or with other settings, beside the step itself.

What a term of a rule does in a dtype is found by taking the step with it and without. To be exact the step is
the optimizer's own: another order of the operations rounds otherwise.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True, slots=True, eq=False)
class ReplayInput:
    """What a step is given of one parameter, or of some of its weights.

    Attributes:
        group: the number of the parameter group.
        weights: before the step, of any shape.
        gradient: used by the step, of the same shape and dtype.
        state: before the step, by the optimizer's names: empty before the first.
    """

    group: int
    weights: Tensor
    gradient: Tensor
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class ReplayOutput:
    """What a step makes of one parameter.

    Attributes:
        weights: after the step.
        state: after the step.
    """

    weights: Tensor
    state: Mapping[str, Any]


def is_replayable(optimizer: Optimizer) -> bool:
    """Return whether the step of an optimizer is torch's own: what a program has put there may do more."""
    module: str = getattr(inspect.unwrap(type(optimizer).step), "__module__", "")
    return module.startswith("torch.optim.")


@torch.no_grad()
def replay(
    optimizer: Optimizer, inputs: Sequence[ReplayInput], groups: Sequence[Mapping[str, Any]]
) -> list[ReplayOutput]:
    """Return what a step makes of some inputs; it changes neither these nor the optimizer.

    No hook is called, and nothing is constructed: the step is that of the class, on a copy of the optimizer
    that has other parameters.

    Args:
        optimizer: of a class whose step moves each weight, or each whole parameter, by itself, and which
            `is_replayable`.
        inputs: what it moves.
        groups: the settings of each parameter group; what they have under ``params`` is left out.

    Raises:
        Exception: whatever the optimizer's step raises.
    """
    weights = [each.weights.clone() for each in inputs]
    copy = object.__new__(type(optimizer))
    copy.__dict__.update(vars(optimizer))
    members = [
        [w for each, w in zip(inputs, weights, strict=True) if each.group == number]
        for number in range(len(groups))
    ]
    copy.param_groups = [{**g, "params": own} for g, own in zip(groups, members, strict=True) if own]
    copy.state = defaultdict(dict)
    for each, w in zip(inputs, weights, strict=True):
        w.grad = each.gradient.clone()
        if each.state:
            copy.state[w] = {key: copied(value) for key, value in each.state.items()}
    inspect.unwrap(type(optimizer).step)(copy)
    return [ReplayOutput(w.detach(), copy.state.get(w, {})) for w in weights]


def copied(value: Any) -> Any:
    """Return an entry of a state as it is now."""
    return value.detach().clone() if isinstance(value, Tensor) else value
