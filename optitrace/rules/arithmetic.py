"""The functions that the rules are written in, for Python numbers and for torch tensors alike.

A rule must run on floats (to be explained), on tensors (to be checked against torch) and on batches
of settings (to be swept), without this room importing torch. So each function asks its argument:
a Python number is computed by `math`, anything else by its own methods.

Where a rule looks at a whole vector (`rms`) or matrix (`norm`, `transpose`), it means the last axis
or the last two, and any axes in front are a batch. Reductions keep the axes they reduce.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, TypeAlias, overload

if TYPE_CHECKING:
    from torch import Tensor

Number: TypeAlias = "float | Tensor"
"""A Python number or a torch tensor: dimensionless, of any shape and floating dtype."""

Matrix: TypeAlias = "Tensor"
"""A torch tensor whose last two axes are the rows and columns of a matrix."""

Condition: TypeAlias = "bool | Tensor"
"""A truth value, or a tensor of them."""


def sqrt(x: Number) -> Number:
    """Return the square root; NaN for a negative number, as torch does."""
    if isinstance(x, float | int):
        return math.sqrt(x) if x >= 0 else math.nan
    return x.sqrt()


def absolute(x: Number) -> Number:
    """Return the absolute value."""
    return abs(x) if isinstance(x, float | int) else x.abs()


def sign(x: Number) -> Number:
    """Return -1, 0 or 1."""
    if isinstance(x, float | int):
        return float((x > 0) - (x < 0))
    return x.sign()


@overload
def maximum(a: Matrix, b: Number) -> Matrix: ...
@overload
def maximum(a: Number, b: Number) -> Number: ...
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


def minimum(a: Number, b: Number) -> Number:
    """Return the lesser of the two, element by element; NaN where either is NaN."""
    return -maximum(-a, -b)


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


def rms(x: Number | tuple[float, ...]) -> Number:
    """Return the root mean square over the last axis, which is kept with size 1.

    A vector may also be given as a tuple of Python numbers.
    """
    if isinstance(x, float | int):
        return abs(float(x))
    if isinstance(x, tuple):
        return sqrt(sum(entry * entry for entry in x) / len(x))
    return x.square().mean(-1, keepdim=True).sqrt()


def norm(x: Matrix) -> Matrix:
    """Return the Frobenius norm over the last two axes, which are kept with size 1."""
    return x.square().sum((-2, -1), keepdim=True).sqrt()


def transpose(x: Matrix) -> Matrix:
    """Return the matrix transposed: its last two axes exchanged."""
    return x.mT


def rows(x: Matrix) -> int:
    """Return the number of rows of a matrix."""
    return x.shape[-2]


def columns(x: Matrix) -> int:
    """Return the number of columns of a matrix."""
    return x.shape[-1]


def bfloat16(x: Matrix) -> Matrix:
    """Return the values rounded to bfloat16 (8 significant bits), in the dtype they came in."""
    return x.bfloat16().to(x.dtype)


def float32(numbers: tuple[Number, ...]) -> tuple[Number, ...]:
    """Return the numbers rounded to float32 (24 significant bits), in the dtypes they came in.

    torch takes a scalar that it multiplies a bfloat16 tensor with as float32.
    """
    return tuple(array("f", [x])[0] if isinstance(x, float | int) else x.float().to(x.dtype) for x in numbers)


def machine_epsilon(x: Number) -> float:
    """Return the distance from 1 to the next number of the dtype (float64 for a Python number)."""
    if isinstance(x, float | int):
        return 2.0**-52
    import torch

    return torch.finfo(x.dtype).eps
