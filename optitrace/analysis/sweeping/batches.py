"""The rule of an optimizer, run for many configurations at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.sweeping.axis import Range, SweptAxis
from optitrace.analysis.sweeping.batch import Batch
from optitrace.analysis.sweeping.batched_loss import BatchedLoss, batched_loss
from optitrace.analysis.sweeping.by_torch import run_by_torch
from optitrace.analysis.sweeping.measures import Watch
from optitrace.analysis.sweeping.native.batch_runner import can_run, run_native
from optitrace.analysis.sweeping.native.tape import UnrecordableError
from optitrace.analysis.sweeping.space import Space
from optitrace.analysis.sweeping.swept import Swept
from optitrace.analysis.sweeping.values import LANE, Column, table
from optitrace.experiment.objective import Quadratic
from optitrace.tracing.devices import open_device

Parts = Mapping[str, Any]
"""The settings of a batch: Python values, or `Swept` where configurations differ."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Where configurations ended.

    Attributes:
        weights: the last weights, shape (configurations, n), in the dtype of the run, on the CPU.
        measures: what was measured of each, shape (configurations,), by name.
    """

    weights: Tensor
    measures: Mapping[str, Tensor]


def kinds(axis: SweptAxis, column: Column) -> Tensor | None:
    """Return for each configuration the kind of its value; None if the axis has just one.

    Those of one kind can run in one batch. Numbers other than zero are one kind, as no rule asks more of
    a number with `if` than whether it is zero. Zero is another; and each value that is no number is one
    of its own.
    """
    if isinstance(axis.values, Range):
        return (column == 0).long() if axis.values.first * axis.values.last <= 0 else None
    if len(axis.values) == 1:
        return None
    is_plain = [isinstance(v, float) and v != 0 for v in axis.values]
    codes = [0 if plain else code for code, plain in enumerate(is_plain, start=1)]
    return torch.tensor(codes)[column] if any(codes) else None


def run_batch(
    space: Space,
    found: Sequence[Column],
    watcher: Callable[[BatchedLoss, Tensor], Watch],
    stop: Callable[[], bool],
) -> Finish | None:
    """Run configurations whose values are of one kind on each axis; None if it was told to stop.

    To be called in `torch.inference_mode`. The weights are laid out coordinate after coordinate, so
    that a hyperparameter of each configuration lies along them.
    """
    base = space.base
    assert base.entry.rule is not None
    device, dtype = open_device(base.device), getattr(torch, base.dtype)
    count = len(found[0])
    is_matrix = base.entry.needs == "matrix"
    parts = _parts(space, [_filled(column) for column in found], device, is_matrix=is_matrix)
    w = _point(parts["start"], dtype, device).expand(_lanes(count), -1)
    coefficients = None
    if any(axis.setting == "coefficients" for axis in space.axes):
        coefficients = _point(parts["coefficients"], dtype, device).expand_as(w)
    loss = batched_loss(base.objective, dtype, device, coefficients)
    w = torch.empty(w.shape[::-1], dtype=dtype, device=device).T.copy_(w)
    if is_matrix:
        w = w.unsqueeze(1)
    hyperparameters = {h.name: parts[h.name] for h in base.entry.hyperparameters}
    batch = Batch(base.entry.rule, hyperparameters, w, loss, base.gradient, base.steps, stop)
    ran = _run(batch, partial(watcher, loss, w))
    if ran is None:
        return None
    final, watch = ran
    measures = {name: measure[:count].cpu() for name, measure in watch.measures(final).items()}
    return Finish(final.reshape(-1, final.shape[-1])[:count].cpu(), measures)


def _run(batch: Batch, watcher: Callable[[], Watch]) -> tuple[Tensor, Watch] | None:
    """Return the last weights and who watched: by machine code where the rule can be had as such."""
    watch = watcher()
    if can_run(batch):
        try:
            final = run_native(batch, watch)
        except UnrecordableError:
            watch = watcher()
        else:
            return None if final is None else (final, watch)
    final = run_by_torch(batch, watch)
    return None if final is None else (final, watch)


def _lanes(count: int) -> int:
    return -(-count // LANE) * LANE


def _filled(column: Column) -> Column:
    """Return a column lengthened to a multiple of `LANE` by its last value."""
    missing = _lanes(len(column)) - len(column)
    return torch.cat([column, column[-1:].expand(missing)]) if missing else column


def _parts(space: Space, found: Sequence[Column], device: torch.device, *, is_matrix: bool) -> Parts:
    """Return the hyperparameters, the start and the coefficients, with what differs as `Swept`."""
    parts: dict[str, Any] = {**space.base.hyperparameters, "start": space.base.start}
    if isinstance(space.base.objective, Quadratic):
        parts["coefficients"] = space.base.objective.coefficients
    for axis, column in zip(space.axes, found, strict=True):
        of_matrix = is_matrix and axis.setting not in ("start", "coefficients")
        value = _value(axis, column, device, (-1, 1, 1) if of_matrix else (-1, 1))
        if axis.position is None:
            parts[axis.setting] = value
        else:
            parts[axis.setting] = tuple(
                value if k == axis.position else part for k, part in enumerate(parts[axis.setting])
            )
    return parts


def _value(axis: SweptAxis, column: Column, device: torch.device, shape: tuple[int, ...]) -> Any:
    """Return the one value of a kind that has just one, and else the numbers of the configurations."""
    if isinstance(axis.values, Range):
        numbers = column
        if axis.values.first * axis.values.last <= 0 and not numbers[0]:
            return 0.0
    else:
        value = axis.values[int(column[0])]
        if not isinstance(value, float) or not value or len(axis.values) == 1:
            return value
        numbers = table(axis.values)[column]
    return numbers.to(device).reshape(shape).as_subclass(Swept)


def _point(numbers: Sequence[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers, of which some may be `Swept`, as a tensor of shape (1 or configurations, n)."""
    tensors = [
        n.plain().reshape(-1, 1)
        if isinstance(n, Swept)
        else torch.tensor([[n]], dtype=torch.float64, device=device)
        for n in numbers
    ]
    count = max(map(len, tensors))
    return torch.cat([tensor.expand(count, 1) for tensor in tensors], dim=1).to(dtype)
