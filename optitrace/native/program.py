"""The program of a run: its steps recorded, those that differ in nothing but numbers under one tape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optitrace.experiment.experiment import used_gradient
from optitrace.native.machine_code import Array, Code, arrays, compiled, listing
from optitrace.native.tape import OPERATIONS, OperandKind, Symbol, Tape, TapeRecorder, UnrecordableError
from optitrace.rules.rule import Rule, StateEntry

SPAN = 256
"""The largest number of steps recorded, and then run, at once."""

Held: TypeAlias = "OperandKind | float | None"
"""The form of a state entry before a step: a tensor of a kind, a Python number, or none."""


@dataclass(frozen=True, slots=True)
class Varied:
    """Stands for a hyperparameter that differs from configuration to configuration.

    Attributes:
        name: of its column.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps with the same operations on different numbers.

    Attributes:
        first: the first of them, from 1.
        tape: what each does.
        numbers: the Python numbers of each, float64, shape (steps, numbers).
        arrays: what the code reads and writes.
        code: the tape as machine code.
    """

    first: int
    tape: Tape
    numbers: Tensor
    arrays: Sequence[Array]
    code: Code


class CompiledRun:
    """The compiled steps of a run, for all configurations whose settings are of one kind.

    It is made as far as it is asked for, once for all threads.
    """

    def __init__(
        self,
        rule: Rule,
        settings: Mapping[str, Any],
        *,
        steps: int,
        protocol: str,
        dtype: str,
        knows_gradient: bool,
    ) -> None:
        """Prepare a program.

        Args:
            rule: the rule.
            settings: its hyperparameters; `Varied`, or a tuple with it, where configurations differ.
            steps: of the run.
            protocol: which gradient a step uses.
            dtype: of the weights.
            knows_gradient: whether the gradient is the weights times a curvature; it is given otherwise.
        """
        self._rule, self._settings, self._steps = rule, settings, steps
        self._protocol, self._dtype, self._knows_gradient = protocol, dtype, knows_gradient
        self._lock = Lock()
        self._made: list[Segment] = []
        self._recorded = 0
        self._ahead: tuple[Tape, list[float]] | None = None
        self._refusal = ""
        initial = rule.initial_state(settings)
        self._state = [_initially(*pair) for pair in zip(rule.state, initial, strict=True)]

    def segments(self) -> Iterator[Segment]:
        """Yield the steps in their order.

        Raises:
            UnrecordableError: the rule does what no tape says, or LLVM refuses the code; then it does
                whenever it is asked.
        """
        done = 0
        while True:
            with self._lock:
                if done == len(self._made) and not self._extend():
                    return
            yield self._made[done]
            done += 1

    def _extend(self) -> bool:
        """Add a segment; return whether there was one."""
        if self._refusal:
            raise UnrecordableError(self._refusal)
        try:
            return self._make_segment()
        except UnrecordableError as error:
            self._refusal = str(error)
            raise

    def _make_segment(self) -> bool:
        step = self._next()
        if step is None:
            return False
        first = self._recorded
        tape, rows = step[0], [step[1]]
        while len(rows) < SPAN and (step := self._next()) is not None:
            if step[0] != tape:
                self._ahead = step
                break
            rows.append(step[1])
        is_varying = [len(set(column)) > 1 for column in zip(*rows, strict=True)]
        numbers = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(is_varying))
        code = compiled(listing(tape, is_varying, self._dtype))
        self._made.append(Segment(first, tape, numbers, arrays(tape), code))
        return True

    def _next(self) -> tuple[Tape, list[float]] | None:
        """Return the tape and the numbers of the next step; None after the last."""
        if self._ahead is not None:
            step, self._ahead = self._ahead, None
            return step
        if self._recorded == self._steps:
            return None
        self._recorded += 1
        return self._record(self._recorded)

    def _record(self, t: int) -> tuple[Tape, list[float]]:
        recorder = TapeRecorder()
        w = recorder.input("w", OperandKind.WEIGHTS)
        used = recorder.input("used", OperandKind.WEIGHTS)
        left: dict[str, Any] = {}
        if self._knows_gradient:
            curvature = recorder.input("curvature", OperandKind.WEIGHTS)
            used = used_gradient(self._protocol, t, used, lambda w: curvature * w, w)
            if self._protocol != "fresh":
                left["used"] = used
        names = [f"state.{entry.symbol}" for entry in self._rule.state]
        given = [
            recorder.input(name, held) if isinstance(held, OperandKind) else held
            for name, held in zip(names, self._state, strict=True)
        ]
        settings = {name: _symbolic(recorder, value) for name, value in self._settings.items()}
        left["w"], *state = self._rule(w, used, t, *given, **settings)
        left.update(zip(names, state, strict=True))
        if not isinstance(left["w"], Symbol):
            raise UnrecordableError("the weights are a number")
        self._state = [_held(value) for value in state]
        return recorder.tape(left), recorder.numbers


def _initially(entry: StateEntry, value: Any) -> Held:
    """Return what an entry of the state is before step 1, given its initial value."""
    if value is None or (entry.scalar and not isinstance(value, Varied)):
        held: float | None = value
        return held
    return OperandKind.COLUMN if entry.scalar else OperandKind.WEIGHTS


def _held(value: Any) -> Held:
    return value.kind if isinstance(value, Symbol) else value


def _symbolic(recorder: TapeRecorder, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_symbolic(recorder, part) for part in value)
    return recorder.input(value.name, OperandKind.COLUMN) if isinstance(value, Varied) else value


def powers(tape: Tape, columns: Mapping[str, Tensor], numbers: Tensor) -> dict[str, Tensor]:
    """Return the powers of one step, each float64 of shape (configurations,), by the names of their arrays.

    torch computes them, and what they are made from, for all configurations.

    Args:
        tape: what the step does.
        columns: what comes in, by name.
        numbers: the Python numbers of the step, shape (numbers,).
    """
    if not tape.powers:
        return {}
    values: dict[int, Any] = {~k: number for k, number in enumerate(numbers.tolist())}
    for place in tape.before_powers:
        line = tape.lines[place]
        if line.operation == "input":
            values[place] = columns[line.name]
        else:
            values[place] = OPERATIONS[line.operation].compute(*(values[each] for each in line.operands))
    return {f"line {place}": values[place].contiguous() for place in tape.powers}
