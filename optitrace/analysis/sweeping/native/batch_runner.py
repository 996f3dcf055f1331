"""A batch run by machine code: torch holds the arrays, and the code steps in them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.sweeping.batch import Batch
from optitrace.analysis.sweeping.gradient import used_gradient
from optitrace.analysis.sweeping.measures import Watch
from optitrace.analysis.sweeping.native.compiled import is_compilable
from optitrace.analysis.sweeping.native.powers import powers
from optitrace.analysis.sweeping.native.program import CompiledRun, Segment, Varied
from optitrace.analysis.sweeping.native.tape import OperandKind
from optitrace.analysis.sweeping.swept import Swept
from optitrace.rules.rule import Rule

KEPT = 256
"""How many programs are kept."""


def can_run(batch: Batch) -> bool:
    """Return whether a batch is one of vectors on the processor, and can be had as machine code."""
    return batch.w.device.type == "cpu" and batch.w.ndim == 2 and is_compilable(batch.dtype)


def run_native(batch: Batch, watch: Watch) -> Tensor | None:
    """Return the last weights of a batch; None if told to stop.

    They are bit for bit those of `run_by_torch`.

    Raises:
        UnrecordableError: the rule does what no tape says.
    """
    made = program(
        batch.rule,
        tuple((name, _key(name, value)) for name, value in batch.hyperparameters.items()),
        batch.steps,
        batch.protocol,
        batch.dtype,
        batch.loss.curvature is not None,
    )
    held = _arrays(batch)
    for segment in made.segments():
        for part in _parts(segment, watch, knows_gradient=batch.loss.curvature is not None):
            if batch.stop():
                return None
            _run_part(batch, watch, segment, part, held)
    return held["w"].T


@lru_cache(KEPT)
def program(
    rule: Rule,
    settings: tuple[tuple[str, Any], ...],
    steps: int,
    protocol: str,
    dtype: str,
    knows_gradient: bool,
) -> CompiledRun:
    """Return the program of a run, made once."""
    return CompiledRun(
        rule, dict(settings), steps=steps, protocol=protocol, dtype=dtype, knows_gradient=knows_gradient
    )


def _parts(segment: Segment, watch: Watch, *, knows_gradient: bool) -> Iterator[slice]:
    """Yield which steps are run at once: one where torch has to do something between two."""
    count = len(segment.numbers)
    if knows_gradient and not watch.follows_steps and not segment.tape.powers:
        yield slice(0, count)
    else:
        yield from (slice(k, k + 1) for k in range(count))


def _run_part(batch: Batch, watch: Watch, segment: Segment, part: slice, held: dict[str, Tensor]) -> None:
    step, w = segment.first + part.start, held["w"]
    if batch.loss.curvature is None:
        used = used_gradient(batch.protocol, step, held["used"].T, batch.loss.gradient, w.T)
        held["used"] = used.T.contiguous()
    held.update(powers(segment.tape, held, segment.numbers[part.start]))
    before = w.T.clone() if watch.follows_steps else w.T
    left = {
        a.name: torch.empty_like(w if a.kind is OperandKind.WEIGHTS else w[0], dtype=_dtype(a.kind, w))
        for a in segment.arrays
        if a.source is None
    }
    taken = [held[a.name] if a.source is not None else left[a.name] for a in segment.arrays]
    segment.code.run(taken, segment.numbers[part], w.shape[1], w.numel())
    held.update(left)
    watch.after_step(step, before, w.T)


def _dtype(kind: OperandKind, w: Tensor) -> torch.dtype:
    return w.dtype if kind is OperandKind.WEIGHTS else torch.float64


def _arrays(batch: Batch) -> dict[str, Tensor]:
    """Return what the first step is given: weights coordinate after coordinate, and columns."""
    w = batch.w.T.contiguous().clone()
    held = {"w": w, "used": torch.zeros_like(w)}
    if batch.loss.curvature is not None:
        held["curvature"] = batch.loss.curvature.expand(batch.w.shape).T.contiguous()
    for entry, value in zip(batch.rule.state, batch.initial_state(), strict=True):
        if isinstance(value, Swept):
            held[f"state.{entry.symbol}"] = _column(value)
        elif isinstance(value, Tensor):
            held[f"state.{entry.symbol}"] = value.T.contiguous()
    for name, value in batch.hyperparameters.items():
        held.update(_columns(name, value))
    return held


def _columns(name: str, value: Any) -> dict[str, Tensor]:
    if isinstance(value, tuple):
        return {key: c for k, part in enumerate(value) for key, c in _columns(f"{name}.{k}", part).items()}
    return {name: _column(value)} if isinstance(value, Swept) else {}


def _column(value: Swept) -> Tensor:
    return value.plain().reshape(-1).contiguous()


def _key(name: str, value: Any) -> Any:
    """Return what of a hyperparameter decides the program: its name where configurations differ."""
    if isinstance(value, tuple):
        return tuple(_key(f"{name}.{k}", part) for k, part in enumerate(value))
    return Varied(name) if isinstance(value, Swept) else value
