"""The correctly rounded square root, which torch's library on the CPU misses by one ulp in places."""

from __future__ import annotations

from dataclasses import replace
from types import FunctionType

import torch
from torch import Tensor

from optitrace.functions import Number, sqrt
from optitrace.rules.rule import Rule

_SPLITTER = 2.0**27 + 1
"""Cuts a float64 into two halves of 26 bits, whose products are exact (Dekker 1971)."""

_LEAST, _GREATEST = 1e-290, 1e290
"""Between these no part of the exact square of a root under- or overflows."""


def correctly_rounded(rule: Rule) -> Rule:
    """Return a rule whose square roots are rounded as IEEE 754 requires, as machine code rounds them."""
    function = rule.function
    assert isinstance(function, FunctionType)
    names = {name: square_root if value is sqrt else value for name, value in function.__globals__.items()}
    rounded = FunctionType(function.__code__, names, function.__name__)
    rounded.__kwdefaults__ = function.__kwdefaults__
    return replace(rule, function=rounded)


def square_root(x: Number) -> Number:
    """Return the square root, correctly rounded on the CPU in float32 and float64; NaN below zero."""
    if not isinstance(x, Tensor) or x.device.type != "cpu":
        return sqrt(x)
    plain = x.as_subclass(Tensor)
    if x.dtype == torch.float32:
        root = plain.double().sqrt().float()
    else:
        root = plain.sqrt()
        if x.dtype == torch.float64:
            root = _corrected(plain, root)
    return root.as_subclass(type(x))


def _corrected(x: Tensor, root: Tensor) -> Tensor:
    """Return a float64 root that is off by an ulp at most, after one Newton step on its exact square."""
    scaled = _SPLITTER * root
    high = scaled - (scaled - root)
    low = root - high
    square = root * root
    error = (high * high - square) + 2 * high * low + low * low
    residual = (x - square) - error
    newton = root + residual / (2 * root)
    # Just below a power of four the step is half an ulp, a tie, and the exact root lies below it.
    is_tied = (newton == root) & (residual < 0) & (root.frexp().mantissa == 0.5)
    newton = torch.where(is_tied, torch.nextafter(root, torch.zeros_like(root)), newton)
    return torch.where((x > _LEAST) & (x < _GREATEST), newton, root)
