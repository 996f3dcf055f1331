"""Element-by-element inspection of selected steps: updates lost in rounding, norms of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor

from optitrace.experiment.own_module import reason
from optitrace.monitoring.norms import StepNorms, norms
from optitrace.monitoring.sharding import local


def lost_updates(parameters: Sequence[Tensor], measured: StepNorms) -> Tensor:
    """Count the coordinates that a step left as they were though their gradient is not zero.

    Returns:
        How many they are, and how many have a gradient that is not zero, shape (2,).
    """
    counts = []
    for k, p in enumerate(parameters):
        if p.grad is None or p.grad.layout is not torch.strided:
            continue
        size = local(p.grad).abs()
        has_gradient = (size > 0).logical_and_(size < inf)
        is_lost = (local(measured.change(k)) == 0).logical_and_(has_gradient)
        counts.append(torch.stack([is_lost.count_nonzero(), has_gradient.count_nonzero()]))
    if not counts:
        return torch.zeros(2)
    return torch.stack([count.to(counts[0].device) for count in counts]).sum(0)


def state_norms(
    parameters: Sequence[Tensor], state: Mapping[Tensor, Mapping[str, Any]]
) -> tuple[dict[str, float | Tensor], dict[str, str]]:
    """Return the norm of each state entry for each parameter; of an entry of one number, the first's.

    What is no number is left out.

    Returns:
        The norms; and the entries that cannot be measured, and why: a tensor subclass need not do all that
        torch's own tensors do.
    """
    found: dict[str, float | Tensor] = {}
    unmeasured: dict[str, str] = {}
    entries = [state.get(p, {}) for p in parameters]
    for key in dict.fromkeys(key for entry in entries for key in entry):
        values = [entry.get(key) for entry in entries]
        first = next(value for value in values if value is not None)
        if isinstance(first, bool) or not isinstance(first, Tensor | int | float):
            continue
        try:
            found[str(key)] = _norm(first, values, parameters)
        except Exception as error:
            if type(first) is Tensor:
                raise
            unmeasured[str(key)] = reason(error)
    return found, unmeasured


def _norm(first: Tensor | float, values: Sequence[Any], parameters: Sequence[Tensor]) -> float | Tensor:
    device = parameters[0].device
    if not isinstance(first, Tensor):
        return float(first)
    if first.numel() == 1 and _is_scalar(first, parameters, values):
        return first.detach().reshape(()).double() if device.type == "cpu" else first.detach()
    return norms([v if isinstance(v, Tensor) else None for v in values], device)


def _is_scalar(value: Tensor, parameters: Sequence[Tensor], values: Sequence[Any]) -> bool:
    """Return whether an entry is a number of the whole parameter, and not of the one weight that it has."""
    return value.ndim == 0 or any(
        p.numel() > 1 and _numel(v) == 1 for p, v in zip(parameters, values, strict=True)
    )


def _numel(value: Any) -> int:
    return value.numel() if isinstance(value, Tensor) else 0
