"""The blocks of a sweep: configurations in the order of their numbers, run on several threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from optitrace.analysis.sweeping.batched_loss import BatchedLoss
from optitrace.analysis.sweeping.batches import Finish, kinds, run_batch
from optitrace.analysis.sweeping.measures import Goal, Observer, Unmeasured, Watch
from optitrace.analysis.sweeping.native.compiled import is_compilable
from optitrace.analysis.sweeping.space import Space
from optitrace.analysis.sweeping.values import Column, columns
from optitrace.errors import DeviceError, ran_out_of_memory
from optitrace.tracing.devices import one_thread

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


def usual_threads(device: str) -> int:
    """Return how many threads are used if nothing else is said: as many as this process may run on."""
    if device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_chunk(space: Space) -> int:
    """Return how many configurations are run in one batch if nothing else is said."""
    if space.base.device != "cpu":
        weights = CHUNK_ELSEWHERE
    else:
        weights = CHUNK_OF_CODE if is_compilable(space.base.dtype) else CHUNK_ON_CPU
    return max(1, weights // len(space.base.start))


def blocks_by_rule(
    space: Space,
    goal: Goal | None,
    *,
    threads: int | None = None,
    chunk: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Block]:
    """Yield every configuration of a space, in the order of their numbers, run by the optimizer's rule.

    Args:
        space: what is swept.
        goal: what is to be measured; nothing but the last weights if None.
        threads: how many blocks are run at once. It changes no result.
        chunk: how many configurations are run in one batch. It changes no result.
        stop: asked before each step; once it says yes, no further block comes.

    Raises:
        DeviceError: the device is not there, or has too little memory.
    """
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


def run_numbers(space: Space, found: Sequence[Column], goal: Goal | None = None) -> Finish:
    """Run some configurations by the rule, given their values on each axis; measure what a goal needs."""
    with one_thread(), torch.inference_mode():
        finish = _run_kinds(space, goal, usual_chunk(space), lambda: False, found)
    assert finish is not None
    return finish


def _run_block(
    space: Space, goal: Goal | None, chunk: int, stop: Callable[[], bool], first: int, count: int
) -> Block | None:
    with torch.inference_mode():
        found = columns(space, first, count)
        finish = _run_kinds(space, goal, chunk, stop, found)
    return None if finish is None else Block(first, found, finish.weights, finish.measures)


def _run_kinds(
    space: Space, goal: Goal | None, chunk: int, stop: Callable[[], bool], found: Sequence[Column]
) -> Finish | None:
    """Run configurations, those of one kind in batches together, and return them in their order."""
    code = torch.zeros(1, dtype=torch.int64)
    for axis, column in zip(space.axes, found, strict=True):
        kind = kinds(axis, column)
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
    order = torch.cat(parts).argsort()
    return Finish(
        torch.cat([finish.weights for finish in finishes])[order],
        {n: torch.cat([finish.measures[n] for finish in finishes])[order] for n in finishes[0].measures},
    )


def _run_fitting(
    space: Space, goal: Goal | None, stop: Callable[[], bool], found: Sequence[Column]
) -> Finish | None:
    """Run one batch, in halves if it does not fit into the device's memory."""
    minima = () if goal is None else space.minima

    def watcher(loss: BatchedLoss, w: Tensor) -> Watch:
        return Unmeasured() if goal is None else Observer(goal, minima, loss, w)

    try:
        return run_batch(space, found, watcher, stop)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        count = len(found[0])
        if count == 1:
            raise DeviceError(
                f"{space.base.device} has not the memory for one configuration; use fewer coordinates."
            ) from error
    halves = []
    for half in (slice(None, count // 2), slice(count // 2, None)):
        finish = _run_fitting(space, goal, stop, [column[half] for column in found])
        if finish is None:
            return None
        halves.append(finish)
    return Finish(
        torch.cat([half.weights for half in halves]),
        {name: torch.cat([half.measures[name] for half in halves]) for name in halves[0].measures},
    )


def _kinds_of(space: Space) -> int:
    """Return how many kinds of configurations there can be."""
    count = 1
    for axis in space.axes:
        if isinstance(axis.values, tuple):
            count *= len({value if not isinstance(value, float) else bool(value) for value in axis.values})
    return count
