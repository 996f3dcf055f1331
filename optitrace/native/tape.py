"""The tape: the operations of a rule in one step, for any numbers of the same kind.

A rule is called with stand-ins for tensors, which record what is done with them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from optitrace.functions import FUNCTIONS, Function
from optitrace.native.square_root import square_root

Operand: TypeAlias = "Symbol | float"
"""What meets in an operation; a Python number stays one as long as only such meet."""


class UnrecordableError(Exception):
    """A rule does something that a tape cannot record; it is then run by torch."""


class OperandKind(Enum):
    """The kind of the result of a tape's line."""

    WEIGHTS = "weights"
    """A number for each weight, in the dtype of the weights."""
    COLUMN = "column"
    """A float64 number for each configuration."""
    CONDITION = "condition"
    """A truth value for either."""


class Operation(NamedTuple):
    """An operation of a tape.

    Attributes:
        compute: the same for tensors and Python numbers.
        lowering: its instructions for LLVM, as `optitrace.functions.Function` has them; empty for a power,
            which torch computes, since no other library gives its last bits.
    """

    compute: Callable[..., Any]
    lowering: str


def _binary(compute: Callable[..., Any], instruction: str) -> Operation:
    return Operation(compute, f"{{out}} = {instruction} {{vector}} {{a}}, {{b}}")


OPERATIONS: Mapping[str, Operation] = {
    "add": _binary(operator.add, "fadd"),
    "subtract": _binary(operator.sub, "fsub"),
    "multiply": _binary(operator.mul, "fmul"),
    "divide": _binary(operator.truediv, "fdiv"),
    "equal": _binary(operator.eq, "fcmp oeq"),
    "unequal": _binary(operator.ne, "fcmp une"),
    "less": _binary(operator.lt, "fcmp olt"),
    "at most": _binary(operator.le, "fcmp ole"),
    "greater": _binary(operator.gt, "fcmp ogt"),
    "at least": _binary(operator.ge, "fcmp oge"),
    "negative": Operation(operator.neg, "{out} = fneg {vector} {a}"),
    "reciprocal": Operation(lambda x: 1 / x, "{out} = fdiv {vector} {one}, {a}"),
    "power": Operation(operator.pow, ""),
    **{name: Operation(f.compute, f.lowering) for name, f in FUNCTIONS.items() if f.lowering},
    "sqrt": Operation(square_root, FUNCTIONS["sqrt"].lowering),
}
"""The operations that a tape can have, by name: Python's operators, and the functions of rules."""

_COMPARISONS = ("equal", "unequal", "less", "at most", "greater", "at least")


class TapeLine(NamedTuple):
    """One operation.

    Attributes:
        operation: a key of `OPERATIONS`; ``input`` where something comes in.
        kind: what it gives.
        operands: lines by their place on the tape; a Python number, which the step brings, by ~ its place
            among the numbers.
        name: what comes in; empty for an operation.
    """

    operation: str
    kind: OperandKind
    operands: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Tape:
    """The operations of one step. Two steps that differ in nothing but Python numbers have equal tapes.

    Attributes:
        lines: the operations, each after its operands.
        outputs: the places of what the step leaves behind, by name; what comes in under the same name in
            the next step.
    """

    lines: tuple[TapeLine, ...]
    outputs: tuple[tuple[str, int], ...]

    @property
    def inputs(self) -> Mapping[str, int]:
        """The places of what comes in, by name."""
        return {line.name: place for place, line in enumerate(self.lines) if line.operation == "input"}

    @property
    def powers(self) -> tuple[int, ...]:
        """The places of powers."""
        return tuple(place for place, line in enumerate(self.lines) if line.operation == "power")

    @property
    def before_powers(self) -> tuple[int, ...]:
        """The places of all that the powers are made from, and of the powers, in order."""
        wanted = set(self.powers)
        for place in reversed(range(len(self.lines))):
            if place in wanted:
                wanted.update(operand for operand in self.lines[place].operands if operand >= 0)
        return tuple(sorted(wanted))


class TapeRecorder:
    """Records the operations of one step.

    Attributes:
        numbers: the Python numbers that met a stand-in, in their order.
    """

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self._lines: list[TapeLine] = []

    def input(self, name: str, kind: OperandKind) -> Symbol:
        """Return a stand-in for what comes in under a name."""
        return self._recorded(TapeLine("input", kind, (), name))

    def tape(self, outputs: Mapping[str, Any]) -> Tape:
        """Return what was recorded, given what the step leaves behind; Python numbers are no part of it."""
        places = {name: value.place for name, value in outputs.items() if isinstance(value, Symbol)}
        return Tape(tuple(self._lines), tuple(places.items()))

    def record(self, operation: str, *operands: Any) -> Symbol:
        """Record an operation and return a stand-in for its result: of weights if an operand is."""
        kinds = [operand.kind for operand in operands if isinstance(operand, Symbol)]
        kind = OperandKind.WEIGHTS if OperandKind.WEIGHTS in kinds else OperandKind.COLUMN
        if operation in _COMPARISONS:
            kind = OperandKind.CONDITION
        return self._recorded(TapeLine(operation, kind, tuple(map(self._place, operands))))

    def _recorded(self, line: TapeLine) -> Symbol:
        self._lines.append(line)
        return Symbol(self, len(self._lines) - 1, line.kind)

    def _place(self, operand: Operand) -> int:
        if isinstance(operand, Symbol):
            return operand.place
        if not isinstance(operand, float | int):
            raise UnrecordableError(f"{operand!r} is no number")
        self.numbers.append(float(operand))
        return ~(len(self.numbers) - 1)


def _operator(operation: str) -> Callable[[Symbol, Any], Symbol]:
    def method(self: Symbol, other: Any) -> Symbol:
        return self.recorder.record(operation, self, other)

    return method


def _reflected(operation: str) -> Callable[[Symbol, Any], Symbol]:
    def method(self: Symbol, other: Any) -> Symbol:
        return self.recorder.record(operation, other, self)

    return method


class Symbol:
    """Stands for a tensor in a rule.

    What is done with it is recorded as torch computes it: a number over a tensor is the number times its
    reciprocal.
    """

    __slots__ = ("kind", "place", "recorder")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, recorder: TapeRecorder, place: int, kind: OperandKind) -> None:
        self.recorder, self.place, self.kind = recorder, place, kind

    def __getattr__(self, name: str) -> Any:
        raise UnrecordableError(f"{name} is no operation of a tape")

    def __bool__(self) -> bool:
        if self.kind is not OperandKind.COLUMN:
            raise UnrecordableError(f"a {self.kind.value} is asked with if")
        return True  # zero is never among the values of a column

    def __rule_function__(self, function: Function, arguments: tuple[Any, ...]) -> Any:
        """Record a function of `optitrace.functions`."""
        if not function.lowering:
            raise UnrecordableError(f"{function.name} is no operation of a tape")
        if isinstance(arguments[0], bool):  # a choice that is decided
            return function.compute(*arguments)
        if function.commutes:
            arguments = tuple(sorted(arguments, key=lambda each: isinstance(each, Symbol)))
        return self.recorder.record(function.name, *arguments)

    def __neg__(self) -> Symbol:
        return self.recorder.record("negative", self)

    __add__, __radd__ = _operator("add"), _reflected("add")
    __sub__, __rsub__ = _operator("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _operator("multiply"), _reflected("multiply")
    __truediv__ = _operator("divide")
    __lt__, __le__ = _operator("less"), _operator("at most")
    __gt__, __ge__ = _operator("greater"), _operator("at least")
    __eq__, __ne__ = _operator("equal"), _operator("unequal")  # type: ignore[assignment]

    def __rtruediv__(self, other: Operand) -> Symbol:
        return self.recorder.record("reciprocal", self) * other

    def __pow__(self, other: Operand) -> Symbol:
        if self.kind is OperandKind.COLUMN:
            return self.recorder.record("power", self, other)
        if isinstance(other, Symbol) or other != 2:
            raise UnrecordableError("weights are raised to another power than 2")
        return self.recorder.record("multiply", self, self)

    def __rpow__(self, other: Operand) -> Symbol:
        if self.kind is not OperandKind.COLUMN:
            raise UnrecordableError("weights are an exponent")
        return self.recorder.record("power", other, self)
