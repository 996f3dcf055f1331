"""The recorder: a rule is called with stand-ins for tensors, which note what is done with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from optitrace.analysis.sweeping.native.tape import OperandKind, Tape, TapeLine, UnrecordableError

Operand: TypeAlias = "Symbol | float"
"""What meets in an operation; a Python number stays one as long as only such meet."""


class TapeRecorder:
    """Takes down the operations of one step.

    Attributes:
        numbers: the Python numbers that met a stand-in, in their order.
    """

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self._lines: list[TapeLine] = []

    def input(self, name: str, kind: OperandKind) -> Symbol:
        """Return a stand-in for what comes in under a name."""
        return self._noted(TapeLine("input", kind, (), name))

    def tape(self, outputs: Mapping[str, Any]) -> Tape:
        """Return what was recorded, given what the step leaves behind; Python numbers are no part of it."""
        places = {name: value.place for name, value in outputs.items() if isinstance(value, Symbol)}
        return Tape(tuple(self._lines), tuple(places.items()))

    def note(self, operation: str, *operands: Operand, kind: OperandKind | None = None) -> Symbol:
        """Note an operation and return a stand-in for its result.

        Its kind, if it is not given, is that of weights where weights are among the operands.
        """
        kinds = [operand.kind for operand in operands if isinstance(operand, Symbol)]
        usual = OperandKind.WEIGHTS if OperandKind.WEIGHTS in kinds else OperandKind.COLUMN
        return self._noted(TapeLine(operation, kind or usual, tuple(map(self._place, operands))))

    def _noted(self, line: TapeLine) -> Symbol:
        self._lines.append(line)
        return Symbol(self, len(self._lines) - 1, line.kind)

    def _place(self, operand: Operand) -> int:
        if isinstance(operand, Symbol):
            return operand.place
        if not isinstance(operand, float | int):
            raise UnrecordableError(f"{operand!r} is no number")
        self.numbers.append(float(operand))
        return ~(len(self.numbers) - 1)


class Symbol:
    """Stands for a tensor in a rule. It has the methods that `optitrace.rules.arithmetic` asks of one.

    They are noted as torch computes them: a number over a tensor is the number times its reciprocal.
    """

    __slots__ = ("_recorder", "kind", "place")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, recorder: TapeRecorder, place: int, kind: OperandKind) -> None:
        self._recorder, self.place, self.kind = recorder, place, kind

    def __getattr__(self, name: str) -> Any:
        raise UnrecordableError(f"{name} is no operation of a tape")

    def __bool__(self) -> bool:
        if self.kind is not OperandKind.COLUMN:
            raise UnrecordableError(f"a {self.kind.value} is asked with if")
        return True  # as `Swept` does: zero is never among its values

    def __neg__(self) -> Symbol:
        return self._recorder.note("negative", self)

    def __invert__(self) -> Symbol:
        return self._recorder.note("not", self, kind=OperandKind.CONDITION)

    def __add__(self, other: Operand) -> Symbol:
        return self._recorder.note("add", self, other)

    def __radd__(self, other: Operand) -> Symbol:
        return self._recorder.note("add", other, self)

    def __sub__(self, other: Operand) -> Symbol:
        return self._recorder.note("subtract", self, other)

    def __rsub__(self, other: Operand) -> Symbol:
        return self._recorder.note("subtract", other, self)

    def __mul__(self, other: Operand) -> Symbol:
        return self._recorder.note("multiply", self, other)

    def __rmul__(self, other: Operand) -> Symbol:
        return self._recorder.note("multiply", other, self)

    def __truediv__(self, other: Operand) -> Symbol:
        return self._recorder.note("divide", self, other)

    def __rtruediv__(self, other: Operand) -> Symbol:
        return self._recorder.note("reciprocal", self) * other

    def __pow__(self, other: Operand) -> Symbol:
        if self.kind is OperandKind.COLUMN:
            return self._recorder.note("power", self, other)
        if isinstance(other, Symbol) or other != 2:
            raise UnrecordableError("weights are raised to another power than 2")
        return self._recorder.note("multiply", self, self)

    def __rpow__(self, other: Operand) -> Symbol:
        if self.kind is not OperandKind.COLUMN:
            raise UnrecordableError("weights are an exponent")
        return self._recorder.note("power", other, self)

    def __eq__(self, other: object) -> Symbol:  # type: ignore[override]
        return self._compared("equal", other)

    def __ne__(self, other: object) -> Symbol:  # type: ignore[override]
        return self._compared("unequal", other)

    def __lt__(self, other: Operand) -> Symbol:
        return self._compared("less", other)

    def __le__(self, other: Operand) -> Symbol:
        return self._compared("at most", other)

    def __gt__(self, other: Operand) -> Symbol:
        return self._compared("greater", other)

    def __ge__(self, other: Operand) -> Symbol:
        return self._compared("at least", other)

    def sqrt(self) -> Symbol:
        """Record a square root."""
        return self._recorder.note("root", self)

    def abs(self) -> Symbol:
        """Note an absolute value."""
        return self._recorder.note("absolute", self)

    def sign(self) -> Symbol:
        """Record a sign."""
        return self._recorder.note("sign", self)

    def maximum(self, other: Operand) -> Symbol:
        """Record the greater of two."""
        return self._recorder.note("maximum", self, other)

    def clamp(self, *, min: Operand) -> Symbol:
        """Record the greater of two; of two zeros it is this one."""
        return self._recorder.note("maximum", min, self)

    def where(self, condition: Symbol, other: Operand) -> Symbol:
        """Record a choice."""
        return self._recorder.note("choose", condition, self, other)

    def _compared(self, operation: str, other: object) -> Symbol:
        return self._recorder.note(operation, self, other, kind=OperandKind.CONDITION)  # type: ignore[arg-type]
