"""The instructions of LLVM for one operation of a tape, on vectors of `LANE` numbers.

What they compute is IEEE 754, each result rounded; nothing may be contracted or reordered. So it is
what torch computes, to the last bit, but for roots: see `optitrace.analysis.sweeping.square_root`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optitrace.analysis.sweeping.values import LANE

CONDITIONS = f"<{LANE} x i1>"
"""The type of truth values."""

_ARITHMETIC = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}

_FUNCTIONS = {"root": "sqrt", "absolute": "fabs"}

_SUFFIXES = {"float": f"v{LANE}f32", "double": f"v{LANE}f64"}

_COMPARISONS = {
    "equal": "oeq",
    "unequal": "une",
    "less": "olt",
    "at most": "ole",
    "greater": "ogt",
    "at least": "oge",
}


def numbers_of(scalar: str) -> str:
    """Return the type of numbers: of ``float`` or ``double``."""
    return f"<{LANE} x {scalar}>"


def declarations() -> Iterator[str]:
    """Yield the functions that instructions call."""
    for scalar, suffix in _SUFFIXES.items():
        for function in _FUNCTIONS.values():
            yield f"declare {numbers_of(scalar)} @llvm.{function}.{suffix}({numbers_of(scalar)})"


def instructions(operation: str, out: str, scalar: str, given: Sequence[str]) -> Iterator[str]:
    """Yield the instructions for an operation.

    Args:
        operation: its name on the tape.
        out: what the result is called.
        scalar: what the numbers are, ``float`` or ``double``.
        given: what the operands are called.
    """
    vector = numbers_of(scalar)
    one, zero = f"splat ({scalar} 1.0)", f"splat ({scalar} 0.0)"
    match operation, *given:
        case (("add" | "subtract" | "multiply" | "divide"), a, b):
            yield f"{out} = {_ARITHMETIC[operation]} {vector} {a}, {b}"
        case "negative", a:
            yield f"{out} = fneg {vector} {a}"
        case "reciprocal", a:
            yield f"{out} = fdiv {vector} {one}, {a}"
        case (("root" | "absolute"), a):
            yield f"{out} = call {vector} @llvm.{_FUNCTIONS[operation]}.{_SUFFIXES[scalar]}({vector} {a})"
        case "sign", a:
            for side, comparison in (("above", "ogt"), ("below", "olt")):
                yield f"{out}.is.{side} = fcmp {comparison} {vector} {a}, {zero}"
                yield f"{out}.{side} = select {CONDITIONS} {out}.is.{side}, {vector} {one}, {vector} {zero}"
            yield f"{out} = fsub {vector} {out}.above, {out}.below"
        case "maximum", a, b:
            yield f"{out}.is.greater = fcmp ogt {vector} {a}, {b}"
            yield f"{out}.greater = select {CONDITIONS} {out}.is.greater, {vector} {a}, {vector} {b}"
            yield f"{out}.is.none = fcmp uno {vector} {a}, {a}"
            yield f"{out} = select {CONDITIONS} {out}.is.none, {vector} {a}, {vector} {out}.greater"
        case "choose", condition, a, b:
            yield f"{out} = select {CONDITIONS} {condition}, {vector} {a}, {vector} {b}"
        case "not", a:
            yield f"{out} = xor {CONDITIONS} {a}, splat (i1 true)"
        case comparison, a, b:
            yield f"{out} = fcmp {_COMPARISONS[comparison]} {vector} {a}, {b}"


def converted(out: str, name: str) -> str:
    """Return the instruction that rounds a vector of doubles to one of floats."""
    return f"{out} = fptrunc {numbers_of('double')} {name} to {numbers_of('float')}"


def spread(out: str, scalar: str, address: str) -> Iterator[str]:
    """Yield the instructions that make a vector of one double at an address."""
    vector = numbers_of(scalar)
    yield f"{out}.exact = load double, ptr {address}"
    rounded = f"{out}.exact"
    if scalar == "float":
        rounded = f"{out}.rounded"
        yield f"{rounded} = fptrunc double {out}.exact to float"
    yield f"{out}.one = insertelement {vector} poison, {scalar} {rounded}, i32 0"
    yield f"{out} = shufflevector {vector} {out}.one, {vector} poison, <{LANE} x i32> zeroinitializer"
