"""The functions that update rules are written in: ``from optitrace.functions import sqrt, where``.

Each is declared once; a rule may call these and no others. They are computed for Python numbers (a step
that is explained) and for torch tensors of any dtype and any leading axes (a step that is verified, or a
batch of settings that is swept), without importing torch here. What is declared beside a function is all
that the rest needs to know of it: how formulas write it, what part of the weights it looks at, and what it
is in machine code.

Where a rule looks at a whole vector (`rms`) or matrix (`norm`, `transpose`), it means the last axis or the
last two, and any axes in front are a batch. Reductions keep the axes they reduce.

`FUNCTIONS` is the table.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from torch import Tensor

Number: TypeAlias = "float | Tensor"
"""A Python number or a torch tensor: dimensionless, of any shape and floating dtype."""

Matrix: TypeAlias = "Annotated[Tensor, 'matrix']"
"""A torch tensor whose last two axes are the rows and columns of a matrix: a rule whose weights are annotated
so is given a matrix."""

Condition: TypeAlias = "bool | Tensor"
"""A truth value, or a tensor of them."""

Extent = Literal["weight", "vector", "matrix"]
"""The part of the weights that a rule, or a function in it, needs to update one of them."""


class FunctionKind(Enum):
    """The kind of a function."""

    ELEMENTWISE = "elementwise"
    """A number for each number, from the numbers in the same place."""
    CHOICE = "choice"
    """One of two numbers in each place."""
    REDUCTION = "reduction"
    """One number of all coordinates."""
    MATRIX = "matrix"
    """A matrix whose entries come from other places."""
    FACT = "fact"
    """A number that depends on the shape or the dtype, not on the values."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that rules may call.

    Attributes:
        name: its name in a rule.
        kind: its kind.
        compute: the function itself.
        unicode: its notation in a formula, with ``{}`` for the arguments.
        ascii: the same in ASCII.
        extent: how much of the weights it looks at.
        vanishes: whether, for arguments that are not negative, it is 0 only where all of them are.
        commutes: whether its arguments can be exchanged; a number then comes before a tensor, which is the
            one of two equal zeros that torch returns.
        lowering: its instructions for LLVM, with the names of its operands in braces, ``{a}``, ``{b}``,
            ``{c}``; empty where machine code has none.
    """

    name: str
    kind: FunctionKind
    compute: Callable[..., Any]
    unicode: str
    ascii: str
    extent: Extent
    vanishes: bool
    commutes: bool
    lowering: str

    def written(self, *, in_unicode: bool) -> tuple[str, str]:
        """Return the notation before and after the arguments."""
        before, _, after = (self.unicode if in_unicode else self.ascii).partition("{}")
        return before, after


FUNCTIONS: dict[str, Function] = {}
"""The functions that rules may call, by name."""

_F = TypeVar("_F", bound=Callable[..., Any])


def _function(
    kind: FunctionKind = FunctionKind.ELEMENTWISE,
    *,
    unicode: str = "",
    ascii: str = "",
    extent: Extent = "weight",
    vanishes: bool = False,
    commutes: bool = False,
    lowering: str = "",
) -> Callable[[_F], _F]:
    """Enter the function below into the table.

    An argument that is neither a number nor a tensor, but has a method ``__rule_function__``, is asked for
    the result: so are steps recorded.
    """

    def enter(compute: _F) -> _F:
        name = compute.__name__
        called = f"{name}({{}})"
        declared = Function(
            name, kind, compute, unicode or called, ascii or called, extent, vanishes, commutes, lowering
        )
        FUNCTIONS[name] = declared

        @wraps(compute)
        def function(*arguments: Any) -> Any:
            for argument in arguments:
                if hasattr(type(argument), "__rule_function__"):
                    return argument.__rule_function__(declared, arguments)
            return compute(*arguments)

        return function  # type: ignore[return-value]

    return enter


@_function(
    unicode="√{}",
    vanishes=True,
    lowering="{out} = call {vector} @llvm.sqrt.{suffix}({vector} {a})",
)
def sqrt(x: Number) -> Number:
    """Return the square root; NaN for a negative number, as torch does."""
    if isinstance(x, float | int):
        return math.sqrt(x) if x >= 0 else math.nan
    return x.sqrt()


@_function()
def log(x: Number) -> Number:
    """Return the natural logarithm; NaN for a negative number and -inf for 0, as torch does."""
    if isinstance(x, float | int):
        return math.log(x) if x > 0 else math.nan if x < 0 else -math.inf
    return x.log()


@_function(
    unicode="|{}|",
    ascii="abs({})",
    vanishes=True,
    lowering="{out} = call {vector} @llvm.fabs.{suffix}({vector} {a})",
)
def absolute(x: Number) -> Number:
    """Return the absolute value."""
    return abs(x) if isinstance(x, float | int) else x.abs()


@_function(
    lowering="""\
{out}.is.above = fcmp ogt {vector} {a}, {zero}
{out}.above = select {conditions} {out}.is.above, {vector} {one}, {vector} {zero}
{out}.is.below = fcmp olt {vector} {a}, {zero}
{out}.below = select {conditions} {out}.is.below, {vector} {one}, {vector} {zero}
{out} = fsub {vector} {out}.above, {out}.below"""
)
def sign(x: Number) -> Number:
    """Return -1, 0 or 1."""
    if isinstance(x, float | int):
        return float((x > 0) - (x < 0))
    return x.sign()


_EXTREME = """\
{{out}}.is.first = fcmp {comparison} {{vector}} {{a}}, {{b}}
{{out}}.first = select {{conditions}} {{out}}.is.first, {{vector}} {{a}}, {{vector}} {{b}}
{{out}}.is.none = fcmp uno {{vector}} {{a}}, {{a}}
{{out}} = select {{conditions}} {{out}}.is.none, {{vector}} {{a}}, {{vector}} {{out}}.first"""


@overload
def maximum(a: Matrix, b: Number) -> Matrix: ...
@overload
def maximum(a: Number, b: Number) -> Number: ...
@_function(
    unicode="max({})",
    ascii="max({})",
    vanishes=True,
    commutes=True,
    lowering=_EXTREME.format(comparison="ogt"),
)
def maximum(a: Number, b: Number) -> Number:
    """Return the greater of the two, element by element; NaN where either is NaN."""
    if isinstance(a, float | int):
        if isinstance(b, float | int):
            return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)
        return _clamped(b, a)
    return _clamped(a, b) if isinstance(b, float | int) else a.maximum(b)


def _clamped(x: Tensor, least: float) -> Tensor:
    """Return ``x.clamp(min=least)``, which an older torch computes as if a `least` of NaN were not there."""
    return x + least if math.isnan(least) else x.clamp(min=least)


@_function(unicode="min({})", ascii="min({})", commutes=True, lowering=_EXTREME.format(comparison="olt"))
def minimum(a: Number, b: Number) -> Number:
    """Return the lesser of the two, element by element; NaN where either is NaN."""
    return -maximum(-a, -b)


@_function(FunctionKind.CHOICE, lowering="{out} = select {conditions} {a}, {vector} {b}, {vector} {c}")
def where(condition: Condition, a: Number, b: Number) -> Number:
    """Return `a` where the condition holds and `b` elsewhere.

    Where the condition is a tensor, at least one of `a` and `b` must be one: two Python numbers say
    nothing of the dtype that is wanted.
    """
    if isinstance(condition, bool):
        return a if condition else b
    if isinstance(a, float | int):
        if isinstance(b, float | int):
            raise TypeError("where(tensor, number, number) has no dtype; make one of them a tensor")
        return b.where(~condition, a)
    return a.where(condition, b)


@_function(FunctionKind.REDUCTION, extent="vector", vanishes=True)
def rms(x: Number | tuple[float, ...]) -> Number:
    """Return the root mean square over the last axis, which is kept with size 1.

    A vector may also be given as a tuple of Python numbers.
    """
    if isinstance(x, float | int):
        return abs(float(x))
    if isinstance(x, tuple):
        return sqrt(sum(entry * entry for entry in x) / len(x))
    return x.square().mean(-1, keepdim=True).sqrt()


@_function(FunctionKind.REDUCTION, extent="matrix", vanishes=True)
def norm(x: Matrix) -> Matrix:
    """Return the Frobenius norm over the last two axes, which are kept with size 1."""
    return x.square().sum((-2, -1), keepdim=True).sqrt()


@_function(FunctionKind.MATRIX, unicode="{}ᵀ", extent="matrix")
def transpose(x: Matrix) -> Matrix:
    """Return the matrix transposed: its last two axes exchanged."""
    return x.mT


@_function(FunctionKind.FACT, extent="matrix")
def rows(x: Matrix) -> int:
    """Return the number of rows of a matrix."""
    return x.shape[-2]


@_function(FunctionKind.FACT, extent="matrix")
def columns(x: Matrix) -> int:
    """Return the number of columns of a matrix."""
    return x.shape[-1]


@_function(vanishes=True)
def bfloat16(x: Matrix) -> Matrix:
    """Return the values rounded to bfloat16 (8 significant bits), in the dtype they came in."""
    return x.bfloat16().to(x.dtype)


@_function()
def float32(numbers: tuple[Number, ...]) -> tuple[Number, ...]:
    """Return the numbers rounded to float32 (24 significant bits), in the dtypes they came in.

    torch takes a scalar that it multiplies a bfloat16 tensor with as float32.
    """
    return tuple(array("f", [x])[0] if isinstance(x, float | int) else x.float().to(x.dtype) for x in numbers)


@_function(FunctionKind.FACT)
def machine_epsilon(x: Number) -> float:
    """Return the distance from 1 to the next number of the dtype (float64 for a Python number)."""
    if isinstance(x, float | int):
        return 2.0**-52
    import torch

    return torch.finfo(x.dtype).eps


def divide(a: Any, b: Any) -> Any:
    """Return ``a / b`` as IEEE 754 has it: of Python numbers infinite or NaN, never an error.

    >>> divide(1.0, 0.0), divide(-1, 0), divide(0, 0)
    (inf, -inf, nan)
    """
    if not isinstance(b, float | int) or b != 0 or not isinstance(a, float | int):
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, math.copysign(1, a) * math.copysign(1, b))


def power(a: Any, b: Any) -> Any:
    """Return ``a**b`` as IEEE 754 has it: of Python numbers infinite or NaN, never an error.

    >>> power(1e200, 2), power(0.0, -1), power(-2.0, 0.5)
    (inf, inf, nan)
    """
    if not isinstance(a, float | int) or not isinstance(b, float | int):
        return a**b
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:
        return math.inf if a == 0 else math.nan
