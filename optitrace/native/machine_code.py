"""Machine code: a tape as a listing in LLVM's assembly, compiled by llvmlite, which includes LLVM.

The program runs many steps with all numbers in registers.

What it computes is IEEE 754, each result rounded; nothing may be contracted or reordered. So it is what
torch computes, to the last bit, but for roots: see `optitrace.native.square_root`.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor

from optitrace.native.tape import OPERATIONS, OperandKind, Tape, TapeLine, UnrecordableError

LANE = 64
"""How many numbers are computed at once, at most: by torch 32, by machine code all.

The last few of a tensor, if they do not fill a register, are computed by other code, whose powers can
differ in the last bit; so everything is computed for a multiple of this, and the surplus thrown away.
"""

_CONDITIONS = f"<{LANE} x i1>"
"""The type of truth values."""

_SUFFIXES = {"float": f"v{LANE}f32", "double": f"v{LANE}f64"}

_SCALARS = {"float32": "float", "float64": "double"}

DTYPES = tuple(_SCALARS)
"""The dtypes of weights that a listing can be made for: those that a processor computes in itself."""

_FRAME = """
define void @run(ptr %arrays, ptr %numbers, i64 %steps, i64 %lanes, i64 %size) {{
entry:
  {addresses}
  br label %block
block:
  %k = phi i64 [ 0, %entry ], [ %k.next, %end ]
  %i = urem i64 %k, %lanes
  {loads}
  {before}
  br label %step
step:
  %t = phi i64 [ 0, %block ], [ %t.next, %step ]
  {carried}
  %row = mul i64 %t, {row}
  {inside}
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %steps
  br i1 %more, label %step, label %end
end:
  {stores}
  %k.next = add i64 %k, {lane}
  %unfinished = icmp slt i64 %k.next, %size
  br i1 %unfinished, label %block, label %exit
exit:
  ret void
}}
"""


KEPT = 256
"""The number of listings that are cached as machine code."""

_OPTIMIZATION = 2


@dataclass(frozen=True, slots=True)
class Array:
    """An array that a program reads, writes, or both.

    Attributes:
        name: what comes in or is left behind.
        kind: of weights, a row of all configurations for each coordinate; else one such row.
        source: the place of the line that it gives; None if it is written only.
        result: the place of the line that it is given; None if it is read only.
    """

    name: str
    kind: OperandKind
    source: int | None
    result: int | None


def arrays(tape: Tape) -> tuple[Array, ...]:
    """Return the arrays of a tape's program, in the order in which it takes them.

    A column that changes is read from one array and written to another, as every coordinate reads it.
    """
    results = dict(tape.outputs)
    found = []
    for name, place in (*tape.inputs.items(), *((f"line {place}", place) for place in tape.powers)):
        kind = tape.lines[place].kind
        in_place = results.pop(name, None) if kind is OperandKind.WEIGHTS else None
        found.append(Array(name, kind, place, in_place))
    found += [Array(name, tape.lines[place].kind, None, place) for name, place in results.items()]
    return tuple(found)


def listing(tape: Tape, is_varying: Sequence[bool], dtype: str) -> str:
    """Return a tape as LLVM's assembly, a function `run` of five arguments.

    They are: the addresses of the arrays, in the order of `arrays`; the numbers, float64 of shape
    (steps, numbers); how many steps there are, at least one; how many configurations, a multiple of
    `LANE`; and how many weights these have together.

    Args:
        tape: the operations of each step.
        is_varying: whether each number differs from step to step.
        dtype: of the weights, one of `DTYPES`.
    """
    return _Writer(tape, is_varying, _SCALARS[dtype]).text()


class _Writer:
    """Writes a listing: what is the same in all steps before the loop over them, the rest inside.

    A vector is named by what it is: ``%l3`` the line at place 3, ``%n2`` the number 2, with the type that it
    was rounded to behind it where there can be two.
    """

    def __init__(self, tape: Tape, is_varying: Sequence[bool], scalar: str) -> None:
        self._tape, self._is_varying, self._scalar = tape, is_varying, scalar
        self._arrays = arrays(tape)
        results = dict(tape.outputs)
        self._carried = {place: results[name] for name, place in tape.inputs.items() if name in results}
        self._fixed = {~k for k, varying in enumerate(is_varying) if not varying}
        self._before: list[str] = []
        self._inside: list[str] = []
        self._named: set[str] = set()

    def text(self) -> str:
        """Return the listing."""
        for place, line in enumerate(self._tape.lines):
            comes_in = line.operation in ("input", "power")
            if place not in self._carried and (comes_in or all(o in self._fixed for o in line.operands)):
                self._fixed.add(place)
            if not comes_in:
                self._write(place, line)
        addresses = [
            text
            for k in range(len(self._arrays))
            for text in (
                f"%a{k}.place = getelementptr ptr, ptr %arrays, i64 {k}",
                f"%a{k} = load ptr, ptr %a{k}.place",
            )
        ]
        frame = _FRAME.format(
            addresses=_lines(addresses),
            loads=_lines(self._loads()),
            before=_lines(self._before),
            carried=_lines(self._phis()),
            row=len(self._is_varying),
            inside=_lines(self._inside),
            stores=_lines(self._stores()),
            lane=LANE,
        )
        return "\n".join(_declarations()) + frame

    def _loads(self) -> Iterator[str]:
        for k, array in enumerate(self._arrays):
            scalar, index = (self._scalar, "%k") if array.kind is OperandKind.WEIGHTS else ("double", "%i")
            yield f"%a{k}.here = getelementptr {scalar}, ptr %a{k}, i64 {index}"
            if array.source is not None:
                name = f"%l{array.source}" + (".first" if array.source in self._carried else "")
                yield f"{name} = load {_numbers(scalar)}, ptr %a{k}.here, align 4"

    def _phis(self) -> Iterator[str]:
        for place, result in self._carried.items():
            vector = _numbers(self._scalar_of(self._tape.lines[place].kind))
            yield f"%l{place} = phi {vector} [ %l{place}.first, %block ], [ %l{result}, %step ]"

    def _stores(self) -> Iterator[str]:
        for k, array in enumerate(self._arrays):
            if array.result is not None:
                vector = _numbers(self._scalar_of(array.kind))
                yield f"store {vector} %l{array.result}, ptr %a{k}.here, align 4"

    def _scalar_of(self, kind: OperandKind) -> str:
        return self._scalar if kind is OperandKind.WEIGHTS else "double"

    def _text_of(self, place: int) -> list[str]:
        """Return where a line, or a number by ~ its place, is written."""
        return self._before if place in self._fixed else self._inside

    def _write(self, place: int, line: TapeLine) -> None:
        kinds = [self._tape.lines[operand].kind for operand in line.operands if operand >= 0]
        scalar = self._scalar_of(OperandKind.WEIGHTS if OperandKind.WEIGHTS in kinds else OperandKind.COLUMN)
        given = [self._operand(operand, scalar) for operand in line.operands]
        self._text_of(place).append(_instructions(line.operation, f"%l{place}", scalar, given))

    def _operand(self, operand: int, scalar: str) -> str:
        """Return the name of an operand among numbers of a type; first round it if it has none."""
        if operand >= 0:
            kind = self._tape.lines[operand].kind
            if kind is OperandKind.CONDITION or self._scalar_of(kind) == scalar:
                return f"%l{operand}"
        name = f"%l{operand}.{scalar}" if operand >= 0 else f"%n{~operand}.{scalar}"
        if name not in self._named:
            self._named.add(name)
            rounded = f"{name} = fptrunc {_numbers('double')} %l{operand} to {_numbers('float')}"
            text = [rounded] if operand >= 0 else self._number(~operand, name, scalar)
            self._text_of(operand).extend(text)
        return name

    def _number(self, number: int, name: str, scalar: str) -> Iterator[str]:
        index = str(number)
        if self._is_varying[number]:
            index = f"{name}.index"
            yield f"{index} = add i64 %row, {number}"
        yield f"{name}.place = getelementptr double, ptr %numbers, i64 {index}"
        yield from _spread(name, scalar, f"{name}.place")


def _lines(text: Iterable[str]) -> str:
    return "\n  ".join(text)


def _numbers(scalar: str) -> str:
    """Return the type of numbers: of ``float`` or ``double``."""
    return f"<{LANE} x {scalar}>"


def _declarations() -> Iterator[str]:
    """Yield the functions of LLVM that instructions call."""
    lowered = " ".join(operation.lowering for operation in OPERATIONS.values())
    for function in dict.fromkeys(re.findall(r"@llvm\.(\w+)", lowered)):
        for scalar, suffix in _SUFFIXES.items():
            yield f"declare {_numbers(scalar)} @llvm.{function}.{suffix}({_numbers(scalar)})"


def _instructions(operation: str, out: str, scalar: str, given: Sequence[str]) -> str:
    """Return the instructions for an operation.

    Args:
        operation: a key of `OPERATIONS`.
        out: what the result is called.
        scalar: what the numbers are, ``float`` or ``double``.
        given: what the operands are called.
    """
    lines = OPERATIONS[operation].lowering.format(
        out=out,
        vector=_numbers(scalar),
        conditions=_CONDITIONS,
        suffix=_SUFFIXES[scalar],
        one=f"splat ({scalar} 1.0)",
        zero=f"splat ({scalar} 0.0)",
        **dict(zip("abc", given, strict=False)),
    )
    return lines.replace("\n", "\n  ")


def _spread(out: str, scalar: str, address: str) -> Iterator[str]:
    """Yield the instructions that make a vector of one double at an address."""
    vector = _numbers(scalar)
    yield f"{out}.exact = load double, ptr {address}"
    rounded = f"{out}.exact"
    if scalar == "float":
        rounded = f"{out}.rounded"
        yield f"{rounded} = fptrunc double {out}.exact to float"
    yield f"{out}.one = insertelement {vector} poison, {scalar} {rounded}, i32 0"
    yield f"{out} = shufflevector {vector} {out}.one, {vector} poison, <{LANE} x i32> zeroinitializer"


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled listing.

    Attributes:
        engine: what owns the memory of the function, which may be called as long as it lives.
        function: the program, as C calls it.
    """

    engine: Any
    function: Any

    def run(self, arrays: Sequence[Tensor], numbers: Tensor, lanes: int, size: int) -> None:
        """Run the steps of some numbers, shape (steps, numbers); other threads run meanwhile."""
        addresses = (ctypes.c_void_p * len(arrays))(*(array.data_ptr() for array in arrays))
        self.function(addresses, numbers.data_ptr(), len(numbers), lanes, size)


def is_compilable(dtype: str) -> bool:
    """Return whether rules can be had as machine code for weights of a dtype: LLVM must load."""
    return dtype in DTYPES and llvm() is not None


@lru_cache(1)
def llvm() -> Any | None:
    """Return LLVM as llvmlite gives it, ready for this processor; None if it cannot be had."""
    try:
        from llvmlite import binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    except (ImportError, OSError, RuntimeError):  # absent, its library does not load, LLVM refuses
        return None
    return binding


@lru_cache(KEPT)
def compiled(listing: str) -> Code:
    """Return a listing as machine code for this processor.

    Raises:
        UnrecordableError: LLVM cannot be had, or refuses the listing, as one older than it does.
    """
    binding = llvm()
    if binding is None:
        raise UnrecordableError("llvmlite cannot be loaded")
    try:
        machine = binding.Target.from_default_triple().create_target_machine(
            cpu=binding.get_host_cpu_name(),
            features=binding.get_host_cpu_features().flatten(),
            opt=_OPTIMIZATION,
        )
        module = binding.parse_assembly(listing)
        module.verify()
        engine = binding.create_mcjit_compiler(module, machine)
        engine.finalize_object()
    except RuntimeError as error:
        raise UnrecordableError(f"LLVM refuses the listing: {error}") from error
    prototype = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64
    )
    return Code(engine, prototype(int(engine.get_function_address("run"))))
