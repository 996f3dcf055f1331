"""Norms as machine code: every number of the gradients and of the weights is read once, and nothing is made.

Squares are added in float64 whatever the dtype, so that a norm is what torch finds in float64.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from optitrace.machine_code import MachineCode, machine_code

SCALARS = {"float32": "float", "float64": "double"}
"""What LLVM calls the dtypes that there are kernels for."""

_BYTES = {"float": 4, "double": 8}

_LANE = 8
"""How many numbers a vector has."""

_SUMS = 4
"""How many vectors of sums grow side by side, so that none waits for the one before."""

_SUM = f"<{_LANE} x double>"

_DECLARATIONS = f"""
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare double @llvm.sqrt.f64(double)
declare {_SUM} @llvm.fma.v{_LANE}f64({_SUM}, {_SUM}, {_SUM})
declare double @llvm.vector.reduce.fadd.v{_LANE}f64(double, {_SUM})
"""

_COPY = """
define void @copy(ptr %to, ptr %from, ptr %counts, i64 %parts) {{
entry:
  br label %part
part:
  %k = phi i64 [ 0, %entry ], [ %k.next, %part ]
  {begin}
  %bytes = mul i64 %count, {bytes}
  call void @llvm.memcpy.p0.p0.i64(ptr %to.part, ptr %from.part, i64 %bytes, i1 false)
  {next}
exit:
  ret void
}}
"""

_NORMS = """
define void @{name}({arrays}, ptr %counts, i64 %parts, {results}) {{
entry:
  br label %part
part:
  %k = phi i64 [ 0, %entry ], [ %k.next, %end ]
  {begin}
  %whole = and i64 %count, {whole}
  %is.long = icmp ne i64 %whole, 0
  br i1 %is.long, label %vectors, label %rest
vectors:
  %i = phi i64 [ 0, %part ], [ %i.next, %vectors ]
  {carried}
  {vectors}
  %i.next = add i64 %i, {block}
  %is.whole = icmp ult i64 %i.next, %whole
  br i1 %is.whole, label %vectors, label %folded
folded:
  {folded}
  br label %rest
rest:
  %j = phi i64 [ 0, %part ], [ %whole, %folded ], [ %j.next, %one ]
  {totals}
  %is.left = icmp ult i64 %j, %count
  br i1 %is.left, label %one, label %end
one:
  {one}
  %j.next = add i64 %j, 1
  br label %rest
end:
  {end}
  {next}
exit:
  ret void
}}
"""

_NEXT = """%k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, %parts
  br i1 %more, label %part, label %exit"""


@dataclass(frozen=True, slots=True)
class Kernels:
    """What is computed over parts: arrays of addresses, counts of numbers, and how many parts there are.

    Attributes:
        code: what owns the memory of the functions.
        copy: copies parts: ``(to, from, counts, parts)``.
        norms: measures parts: ``(given, counts, parts, norms)``, the norms being float64.
        copy_and_norms: copies parts and measures others, as long, in one pass over the memory:
            ``(to, from, given, counts, parts, norms)``.
        changes: measures how parts differ from others, and those others:
            ``(before, after, counts, parts, norms of before - after, norms of after)``.
    """

    code: MachineCode
    copy: Any
    norms: Any
    copy_and_norms: Any
    changes: Any


@lru_cache
def kernels(dtype: str) -> Kernels:
    """Return the kernels for a dtype of `SCALARS`.

    Raises:
        NoMachineCodeError: there is no machine code to be had.
    """
    code = machine_code(listing(SCALARS[dtype]))
    pointer, size = ctypes.c_void_p, ctypes.c_int64

    def function(name: str, *arguments: Any) -> Any:
        return ctypes.CFUNCTYPE(None, *arguments)(code.address(name))

    return Kernels(
        code,
        copy=function("copy", pointer, pointer, pointer, size),
        norms=function("norms", pointer, pointer, size, pointer),
        copy_and_norms=function("copy_and_norms", pointer, pointer, pointer, pointer, size, pointer),
        changes=function("changes", pointer, pointer, pointer, size, pointer, pointer),
    )


def listing(scalar: str) -> str:
    """Return the kernels for ``float`` or ``double`` in LLVM's assembly."""
    copy = _COPY.format(begin=_lines(_begin(("to", "from"))), bytes=_BYTES[scalar], next=_NEXT)
    return "".join(
        (
            _DECLARATIONS,
            copy,
            _norms("norms", scalar, arrays=("given",), measured=("given",)),
            _norms("copy_and_norms", scalar, arrays=("to", "from", "given"), measured=("given",)),
            _norms("changes", scalar, arrays=("before", "after"), measured=("change", "after")),
        )
    )


def _norms(name: str, scalar: str, *, arrays: tuple[str, ...], measured: tuple[str, ...]) -> str:
    return _NORMS.format(
        name=name,
        arrays=", ".join(f"ptr %{array}" for array in arrays),
        results=", ".join(f"ptr %{one}.norms" for one in measured),
        begin=_lines(_begin(arrays)),
        whole=-_LANE * _SUMS,
        block=_LANE * _SUMS,
        carried=_lines(
            f"%{one}.sum{s} = phi {_SUM} [ zeroinitializer, %part ], [ %{one}.sum{s}.next, %vectors ]"
            for one in measured
            for s in range(_SUMS)
        ),
        vectors=_lines(_vectors(scalar, arrays, measured)),
        folded=_lines(line for one in measured for line in _folded(one)),
        totals=_lines(
            f"%{one}.total = phi double [ 0.0, %part ], [ %{one}.folded, %folded ], [ %{one}.more, %one ]"
            for one in measured
        ),
        one=_lines(_one(scalar, arrays, measured)),
        end=_lines(line for one in measured for line in _end(one)),
        next=_NEXT,
    )


def _begin(arrays: tuple[str, ...]) -> Iterator[str]:
    """Yield what looks up where a part is, and how long."""
    yield "%count.place = getelementptr i64, ptr %counts, i64 %k"
    yield "%count = load i64, ptr %count.place"
    for array in arrays:
        yield f"%{array}.place = getelementptr ptr, ptr %{array}, i64 %k"
        yield f"%{array}.part = load ptr, ptr %{array}.place"


def _vectors(scalar: str, arrays: tuple[str, ...], measured: tuple[str, ...]) -> Iterator[str]:
    """Yield what adds the squares of a block to the sums."""
    vector = f"<{_LANE} x {scalar}>"
    for s in range(_SUMS):
        yield f"%i{s} = add i64 %i, {s * _LANE}"
        yield from _loads(scalar, vector, arrays, measured, f"{s}", index=f"%i{s}")
        for one in measured:
            yield from _exact(scalar, vector, _SUM, f"{one}{s}")
            sums = ", ".join(f"{_SUM} %{name}" for name in (f"{one}{s}.exact", f"{one}{s}.exact"))
            added = f"{sums}, {_SUM} %{one}.sum{s}"
            yield f"%{one}.sum{s}.next = call {_SUM} @llvm.fma.v{_LANE}f64({added})"


def _one(scalar: str, arrays: tuple[str, ...], measured: tuple[str, ...]) -> Iterator[str]:
    """Yield what adds the square of one number."""
    yield from _loads(scalar, scalar, arrays, measured, ".one", index="%j")
    for one in measured:
        yield from _exact(scalar, scalar, "double", f"{one}.one")
        yield f"%{one}.square = fmul double %{one}.one.exact, %{one}.one.exact"
        yield f"%{one}.more = fadd double %{one}.total, %{one}.square"


def _loads(
    scalar: str, type: str, arrays: tuple[str, ...], measured: tuple[str, ...], suffix: str, *, index: str
) -> Iterator[str]:
    for array in arrays:
        yield f"%{array}{suffix}.place = getelementptr {scalar}, ptr %{array}.part, i64 {index}"
        if array == "to":
            continue
        yield f"%{array}{suffix} = load {type}, ptr %{array}{suffix}.place, align {_BYTES[scalar]}"
        if array == "from":
            yield f"store {type} %from{suffix}, ptr %to{suffix}.place, align {_BYTES[scalar]}"
    if "change" in measured:
        yield f"%change{suffix} = fsub {type} %before{suffix}, %after{suffix}"


def _exact(scalar: str, type: str, exact: str, name: str) -> Iterator[str]:
    """Yield what makes numbers float64."""
    yield f"%{name}.exact = " + (
        f"fpext {type} %{name} to {exact}" if scalar == "float" else f"bitcast {type} %{name} to {exact}"
    )


def _folded(one: str) -> Iterator[str]:
    """Yield what makes one sum of several vectors of them."""
    total = f"%{one}.sum0.next"
    for s in range(1, _SUMS):
        yield f"%{one}.folded{s} = fadd {_SUM} {total}, %{one}.sum{s}.next"
        total = f"%{one}.folded{s}"
    function = f"@llvm.vector.reduce.fadd.v{_LANE}f64"
    yield f"%{one}.folded = call reassoc double {function}(double 0.0, {_SUM} {total})"


def _end(one: str) -> Iterator[str]:
    """Yield what writes down the norm of a part."""
    yield f"%{one}.norm = call double @llvm.sqrt.f64(double %{one}.total)"
    yield f"%{one}.norm.place = getelementptr double, ptr %{one}.norms, i64 %k"
    yield f"store double %{one}.norm, ptr %{one}.norm.place"


def _lines(text: Iterable[str]) -> str:
    return "\n  ".join(text)
