"""A quantity after a step, as a class has it and as a rule gives it: how far the two are apart, in units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

WEIGHTS = "weights"

COUNT = "step"
"""The state's entry that counts the steps, where there is one; no rule has it, as each is told the step."""


@dataclass(frozen=True, slots=True)
class Found:
    """One quantity after a step, as the class has it and as the rule gives it.

    Attributes:
        expected: what the rule gives, float64.
        found: what the class has, float64.
        errors: how far they are apart, in units of the class's dtype.
        dtype: the class's dtype.
        allowed: how far they may be.
    """

    expected: Tensor
    found: Tensor
    errors: Tensor
    dtype: torch.dtype
    allowed: float

    @property
    def worst(self) -> float:
        """The largest error; infinite where something is not a number."""
        worst = float(self.errors.max())
        return math.inf if math.isnan(worst) else worst

    @property
    def departs(self) -> bool:
        """Whether they are further apart than allowed."""
        return not self.worst <= self.allowed


def compare(before: Any, expected: Any, found: Tensor, dtype: torch.dtype, allowed: float) -> Found:
    """Hold what a class has after a step against what a rule gives.

    Args:
        before: what the class had before the step, a number or a tensor.
        expected: what the rule gives, a number or a tensor.
        found: what the class has, float64.
        dtype: in which the class keeps it.
        allowed: how many units they may be apart: eps(dtype) × max(|before|, |found|).
    """
    before, expected = (torch.as_tensor(x, dtype=torch.float64) for x in (before, expected))
    if not dtype.is_floating_point:
        dtype = torch.float64
    information = torch.finfo(dtype)
    scale = torch.maximum(before.abs(), found.abs()).clamp(min=information.tiny) * information.eps
    is_same = (expected == found) | (expected.isnan() & found.isnan())
    errors = torch.where(is_same, 0.0, (expected - found).abs() / scale)
    return Found(expected.expand_as(found), found, errors, dtype, allowed)


def compare_count(number: int, found: Tensor) -> Found:
    """Hold the entry that counts the steps against the step's number, which it must be exactly."""
    expected = torch.full_like(found, number, dtype=torch.float64)
    return Found(expected, found.double(), (expected - found).abs(), found.dtype, 0.0)
