"""A batch: configurations that are run together, as tensors, by torch or by machine code.

Both give the same bits. torch runs a rule operation by operation, on any device and in any dtype; machine
code runs those of vectors on the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.sweeping.measures import BatchedLoss, Observer
from optitrace.experiment.experiment import used_gradient
from optitrace.experiment.float_formats import dtype_name
from optitrace.native.machine_code import is_compilable
from optitrace.native.program import CompiledRun, Segment, Varied, powers
from optitrace.native.square_root import correctly_rounded
from optitrace.native.tape import OperandKind
from optitrace.rules.rule import Rule, StateEntry

KEPT = 256
"""The number of cached programs."""

_HALF = (torch.float16, torch.bfloat16)


class MixedConditionError(Exception):
    """The condition of an `if` holds of some configurations of a batch, and not of others.

    Attributes:
        holds: of which, shape (configurations,).
    """

    def __init__(self, holds: Tensor) -> None:
        super().__init__("a condition holds of some configurations alone")
        self.holds = holds


class Swept(Tensor):
    """The values of one hyperparameter: float64, shape (configurations, 1), or with one more 1: see `Batch`.

    A rule that is given these in the place of numbers computes for each configuration what torch does
    with a number: in float64 as long as only numbers meet, and rounded to the dtype of the weights, or
    to float32 if that is a half precision, where they meet weights. Plain tensors would make
    ``1 - beta2`` and ``beta2**t`` inexact in float32, and the whole in float64 is half as fast.

    A rule can ask with `if` whether it is zero, as zero is never among its values, and how it compares,
    as those of which the answer differs are then run apart: see `optitrace.analysis.sweeping.blocks`.
    """

    def __bool__(self) -> bool:
        if self.is_floating_point():
            return True
        holds = self.plain().flatten()
        if (holds != holds[0]).any():
            raise MixedConditionError(holds)
        return bool(holds[0])

    def plain(self) -> Tensor:
        """Return the values as a plain tensor."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.as_subclass(Tensor)

    def rounded(self, dtype: torch.dtype) -> Tensor:
        """Return the values as weights of a dtype meet them; kept, as a rule meets them in every step."""
        kept: Tensor | None = self.__dict__.get("kept")
        if kept is None:
            kept = self.plain()
            if kept.is_floating_point():
                kept = kept.to(torch.float32 if dtype in _HALF else dtype)
            self.__dict__["kept"] = kept
        return kept

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute among its like, or with weights."""
        with torch._C.DisableTorchFunctionSubclass():
            for other in args:
                if isinstance(other, Tensor) and not isinstance(other, cls):
                    rounded = [a.rounded(other.dtype) if isinstance(a, cls) else a for a in args]
                    result = func(*rounded, **(kwargs or {}))
                    return result.to(other.dtype) if other.dtype in _HALF else result
            result = func(*args, **(kwargs or {}))
            return result.as_subclass(cls) if isinstance(result, Tensor) else result


@dataclass(frozen=True, slots=True)
class Batch:
    """Configurations whose values are of one kind on each axis, before their first step.

    Attributes:
        rule: the rule.
        hyperparameters: Python values, or `Swept` where configurations differ, by name.
        w: the weights, shape (configurations, n), or (configurations, 1, n) where a rule must see them whole.
        loss: the loss.
        protocol: which gradient a step uses.
        steps: the number of steps.
        stop: called repeatedly; once it returns true, the batch is abandoned.
    """

    rule: Rule
    hyperparameters: Mapping[str, Any]
    w: Tensor
    loss: BatchedLoss
    protocol: str
    steps: int
    stop: Callable[[], bool]

    @property
    def dtype(self) -> str:
        """The name of the dtype of the weights."""
        return dtype_name(self.w.dtype)

    def initial_state(self) -> list[Any]:
        """Return the state before step 1: numbers where torch has one for all weights, and else tensors."""
        initial = self.rule.initial_state(self.hyperparameters)
        return [
            value if value is None or entry.scalar else self._zeros(entry) + value
            for entry, value in zip(self.rule.state, initial, strict=True)
        ]

    def _zeros(self, entry: StateEntry) -> Tensor:
        if entry.shape == "weights":  # laid out as they are
            return torch.zeros_like(self.w)
        return self.w.new_zeros(entry.dimensions(self.w.shape))


def run_by_torch(batch: Batch, observer: Observer) -> Tensor | None:
    """Return the last weights of a batch, shaped as the first; None if stopped."""
    w, rule = batch.w, correctly_rounded(batch.rule)
    state = batch.initial_state()
    used = torch.zeros_like(w)
    for t in range(1, batch.steps + 1):
        if batch.stop():
            return None
        used = used_gradient(batch.protocol, t, used, batch.loss.gradient, w)
        moved, *after = rule(w, used, t, *state, **batch.hyperparameters)
        state = [_as_kept(*pair) for pair in zip(rule.state, after, strict=True)]
        assert isinstance(moved, Tensor)
        observer.after_step(t, w, moved)
        w = moved
    return w


def _as_kept(entry: StateEntry, value: Any) -> Any:
    """Return a state entry after a step; what a rule found of a whole parameter goes on as a number does."""
    is_found = entry.scalar and isinstance(value, Tensor) and not isinstance(value, Swept)
    return value.double().as_subclass(Swept) if is_found else value


def can_run(batch: Batch) -> bool:
    """Return whether a batch can be run as machine code: each weight is moved by itself, on the CPU."""
    return batch.w.device.type == "cpu" and batch.w.ndim == 2 and is_compilable(batch.dtype)


def run_native(batch: Batch, observer: Observer) -> Tensor | None:
    """Return the last weights of a batch; None if stopped.

    They are bit for bit those of `run_by_torch`.

    Raises:
        UnrecordableError: the rule does something that a tape cannot record.
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
        for part in _parts(segment, observer, knows_gradient=batch.loss.curvature is not None):
            if batch.stop():
                return None
            _run_part(batch, observer, segment, part, held)
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


def _parts(segment: Segment, observer: Observer, *, knows_gradient: bool) -> Iterator[slice]:
    """Yield the steps that are run together: a single one if torch must compute between two steps."""
    count = len(segment.numbers)
    if knows_gradient and not observer.follows_steps and not segment.tape.powers:
        yield slice(0, count)
    else:
        yield from (slice(k, k + 1) for k in range(count))


def _run_part(
    batch: Batch, observer: Observer, segment: Segment, part: slice, held: dict[str, Tensor]
) -> None:
    step, w = segment.first + part.start, held["w"]
    if batch.loss.curvature is None:
        used = used_gradient(batch.protocol, step, held["used"].T, batch.loss.gradient, w.T)
        held["used"] = used.T.contiguous()
    held.update(powers(segment.tape, held, segment.numbers[part.start]))
    before = w.T.clone() if observer.follows_steps else w.T
    left = {
        a.name: torch.empty_like(w if a.kind is OperandKind.WEIGHTS else w[0], dtype=_dtype_of(a.kind, w))
        for a in segment.arrays
        if a.source is None
    }
    taken = [held[a.name] if a.source is not None else left[a.name] for a in segment.arrays]
    segment.code.run(taken, segment.numbers[part], w.shape[1], w.numel())
    held.update(left)
    observer.after_step(step, before, w.T)


def _dtype_of(kind: OperandKind, w: Tensor) -> torch.dtype:
    return w.dtype if kind is OperandKind.WEIGHTS else torch.float64


def _arrays(batch: Batch) -> dict[str, Tensor]:
    """Return the inputs of the first step: weights coordinate after coordinate, and columns."""
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
    """Return the part of a hyperparameter that determines the program: its name if configurations differ."""
    if isinstance(value, tuple):
        return tuple(_key(f"{name}.{k}", part) for k, part in enumerate(value))
    return Varied(name) if isinstance(value, Swept) else value
