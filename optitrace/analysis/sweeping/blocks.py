"""The blocks of a sweep: configurations in the order of their numbers, run by the rule on several threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.sweeping.axis import Range, SweptAxis
from optitrace.analysis.sweeping.batch import (
    Batch,
    MixedConditionError,
    Swept,
    can_run,
    run_by_torch,
    run_native,
)
from optitrace.analysis.sweeping.measures import USUAL_GOAL, Goal, Observer, batched_loss
from optitrace.analysis.sweeping.space import Column, Space, columns, table
from optitrace.errors import DeviceError, ran_out_of_memory
from optitrace.experiment.objective import Quadratic
from optitrace.native.machine_code import LANE, is_compilable
from optitrace.native.tape import UnrecordableError
from optitrace.rules.source_patching import extent
from optitrace.tracing.devices import one_thread, open_device

CHUNK_OF_CODE = 131_072
"""Weights of one batch that machine code runs: enough that what comes before and after counts little."""

CHUNK_ON_CPU = 32_768
"""Weights of one batch that torch runs on the CPU: what its temporaries take stays in the cache."""

CHUNK_ELSEWHERE = 4_194_304
"""Weights of one batch on an accelerator: enough to keep it busy."""

MOST_KINDS = 64
"""How many kinds of configurations a block is made larger for, so that their batches are not small."""

WAITING = 2
"""Blocks for each thread that are run ahead of the one that is wanted next."""


@dataclass(frozen=True, slots=True)
class Block:
    """Configurations that were run.

    Attributes:
        first: the number of the first.
        columns: the values of each axis.
        weights: the last weights, shape (configurations, n).
        measures: what was measured of each, shape (configurations,), by name.
    """

    first: int
    columns: Sequence[Column]
    weights: Tensor
    measures: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True, slots=True)
class Finish:
    """Where configurations ended.

    Attributes:
        weights: the last weights, shape (configurations, n), in the dtype of the run, on the CPU.
        measures: what was measured of each, shape (configurations,), by name.
    """

    weights: Tensor
    measures: Mapping[str, Tensor]


def usual_threads(device: str) -> int:
    """Return the default number of threads: the number of CPUs that this process may use."""
    if device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_chunk(space: Space) -> int:
    """Return the default number of configurations in a batch."""
    if space.base.device != "cpu":
        weights = CHUNK_ELSEWHERE
    else:
        weights = CHUNK_OF_CODE if is_compilable(space.base.dtype) else CHUNK_ON_CPU
    return max(1, weights // len(space.base.start))


def blocks_by_rule(
    space: Space,
    goal: Goal = USUAL_GOAL,
    *,
    threads: int | None = None,
    chunk: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Block]:
    """Yield every configuration of a space, in the order of their numbers, run by the optimizer's rule.

    Args:
        space: what is swept.
        goal: what to measure.
        threads: the number of blocks run at once; it does not affect the result.
        chunk: the number of configurations in a batch; it does not affect the result.
        stop: called before each step; once it returns true, no further block is yielded.

    Raises:
        DeviceError: the device is not there, or has too little memory.
    """
    assert space.base.entry.rule is not None
    extent(space.base.entry.rule)  # kept from here on: Python 3.11 fails if two threads parse at once
    threads = threads or usual_threads(space.base.device)
    chunk = chunk or usual_chunk(space)
    size = chunk * min(_kinds_of(space), MOST_KINDS)
    abandoned = threading.Event()

    def stops() -> bool:
        return abandoned.is_set() or stop()

    run = partial(_run_block, space, goal, chunk, stops)
    waiting: deque[Future[Block | None]] = deque()
    with one_thread(), ThreadPoolExecutor(threads, thread_name_prefix="sweep") as executor:
        try:
            for first in range(0, space.size, size):
                waiting.append(executor.submit(run, first, min(size, space.size - first)))
                if len(waiting) < threads * WAITING:
                    continue
                block = waiting.popleft().result()
                if block is None:
                    return
                yield block
            while waiting and (block := waiting.popleft().result()) is not None:
                yield block
        finally:
            abandoned.set()
            for future in waiting:
                future.cancel()


def run_numbers(space: Space, found: Sequence[Column], goal: Goal = USUAL_GOAL) -> Finish:
    """Run some configurations by the rule, given their values on each axis; measure what a goal needs."""
    with one_thread(), torch.inference_mode():
        finish = _run_kinds(space, goal, usual_chunk(space), lambda: False, found)
    assert finish is not None
    return finish


def _run_block(
    space: Space, goal: Goal, chunk: int, stop: Callable[[], bool], first: int, count: int
) -> Block | None:
    with torch.inference_mode():
        found = columns(space, first, count)
        finish = _run_kinds(space, goal, chunk, stop, found)
    return None if finish is None else Block(first, found, finish.weights, finish.measures)


def _run_kinds(
    space: Space, goal: Goal, chunk: int, stop: Callable[[], bool], found: Sequence[Column]
) -> Finish | None:
    """Run configurations, those of one kind in batches together, and return them in their order."""
    code = torch.zeros(1, dtype=torch.int64)
    for axis, column in zip(space.axes, found, strict=True):
        kind = _kinds(axis, column)
        if kind is not None:
            code = code * (int(kind.max()) + 1) + kind
    if len(found[0]) <= chunk and bool((code == code[0]).all()):
        return _run_fitting(space, goal, stop, found)
    code = code.expand(len(found[0]))
    parts: list[Tensor] = []
    finishes: list[Finish] = []
    present: Tensor = torch.unique(code)
    for one in present:
        for members in (code == one).nonzero().squeeze(1).split(chunk):
            finish = _run_fitting(space, goal, stop, [column[members] for column in found])
            if finish is None:
                return None
            parts.append(members)
            finishes.append(finish)
    return _joined(parts, finishes)


def _run_fitting(
    space: Space, goal: Goal, stop: Callable[[], bool], found: Sequence[Column]
) -> Finish | None:
    """Run one batch: in halves if the device has no memory for it, and apart where an `if` parts it."""
    count = len(found[0])
    try:
        return _run_batch(space, goal, stop, found)
    except MixedConditionError as error:
        holds = error.holds[:count].cpu()
        parts = [holds.nonzero().squeeze(1), (~holds).nonzero().squeeze(1)]
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        if count == 1:
            raise DeviceError(
                f"{space.base.device} is too small for one configuration; use fewer coordinates."
            ) from error
        parts = list(torch.arange(count).tensor_split(2))
    finishes = []
    for part in parts:
        finish = _run_fitting(space, goal, stop, [column[part] for column in found])
        if finish is None:
            return None
        finishes.append(finish)
    return _joined(parts, finishes)


def _joined(parts: Sequence[Tensor], finishes: Sequence[Finish]) -> Finish:
    """Return where all configurations ended, in their order, given the places of those of each part."""
    order = torch.cat([*parts]).argsort()
    return Finish(
        torch.cat([finish.weights for finish in finishes])[order],
        {name: torch.cat([f.measures[name] for f in finishes])[order] for name in finishes[0].measures},
    )


def _kinds_of(space: Space) -> int:
    """Return the number of possible kinds of configurations."""
    count = 1
    for axis in space.axes:
        if isinstance(axis.values, tuple):
            count *= len({value if not isinstance(value, float) else bool(value) for value in axis.values})
    return count


def _kinds(axis: SweptAxis, column: Column) -> Tensor | None:
    """Return for each configuration the kind of its value; None if the axis has just one.

    Those of one kind can run in one batch. Numbers other than zero are one kind: that a rule compares one
    with `if` shows only as it runs, and `_run_fitting` parts them then. Zero is another; and each value
    that is no such number is one of its own.
    """
    if isinstance(axis.values, Range):
        if axis.values.whole:
            return (column - min(axis.values.first, axis.values.last)).long()
        return (column == 0).long() if axis.values.first * axis.values.last <= 0 else None
    if len(axis.values) == 1:
        return None
    is_plain = [isinstance(v, float) and v != 0 for v in axis.values]
    codes = [0 if plain else code for code, plain in enumerate(is_plain, start=1)]
    return torch.tensor(codes)[column] if any(codes) else None


def _run_batch(space: Space, goal: Goal, stop: Callable[[], bool], found: Sequence[Column]) -> Finish | None:
    """Run configurations whose values are of one kind on each axis; return None if stopped.

    To be called in `torch.inference_mode`. The weights are laid out coordinate after coordinate, so
    that a hyperparameter of each configuration lies along them.
    """
    base = space.base
    assert base.entry.rule is not None
    device, dtype = open_device(base.device), getattr(torch, base.dtype)
    count = len(found[0])
    is_whole = extent(base.entry.rule) != "weight"
    parts = _parts(space, [_filled(column) for column in found], device, is_whole=is_whole)
    w = _point(parts["start"], dtype, device).expand(_lanes(count), -1)
    coefficients = None
    if any(axis.setting == "coefficients" for axis in space.axes):
        coefficients = _point(parts["coefficients"], dtype, device).expand_as(w)
    loss = batched_loss(base.objective, dtype, device, coefficients)
    w = torch.empty(w.shape[::-1], dtype=dtype, device=device).T.copy_(w)
    if is_whole:  # each configuration is a matrix with one row
        w = w.unsqueeze(1)
    hyperparameters = {h.name: parts[h.name] for h in base.entry.hyperparameters}
    batch = Batch(base.entry.rule, hyperparameters, w, loss, base.gradient, base.steps, stop)
    ran = _run(batch, partial(Observer, goal, space.minima, loss.value, w))
    if ran is None:
        return None
    final, observer = ran
    measures = {name: measure[:count].cpu() for name, measure in observer.measures(final).items()}
    return Finish(final.reshape(-1, final.shape[-1])[:count].cpu(), measures)


def _run(batch: Batch, observe: Callable[[], Observer]) -> tuple[Tensor, Observer] | None:
    """Return the last weights and what observed: by machine code where the rule can be had as such."""
    observer = observe()
    if can_run(batch):
        try:
            final = run_native(batch, observer)
        except UnrecordableError:
            observer = observe()
        else:
            return None if final is None else (final, observer)
    final = run_by_torch(batch, observer)
    return None if final is None else (final, observer)


def _lanes(count: int) -> int:
    return -(-count // LANE) * LANE


def _filled(column: Column) -> Column:
    """Return a column lengthened to a multiple of `LANE` by its last value."""
    missing = _lanes(len(column)) - len(column)
    return torch.cat([column, column[-1:].expand(missing)]) if missing else column


def _parts(
    space: Space, found: Sequence[Column], device: torch.device, *, is_whole: bool
) -> Mapping[str, Any]:
    """Return the hyperparameters, the start and the coefficients, with what differs as `Swept`."""
    parts: dict[str, Any] = {**space.base.hyperparameters, "start": space.base.start}
    if isinstance(space.base.objective, Quadratic):
        parts["coefficients"] = space.base.objective.coefficients
    for axis, column in zip(space.axes, found, strict=True):
        meets_matrices = is_whole and axis.setting not in ("start", "coefficients")
        value = _value(axis, column, device, (-1, 1, 1) if meets_matrices else (-1, 1))
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
        if axis.values.whole:
            return int(numbers[0])
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
