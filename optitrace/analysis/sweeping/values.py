"""The values of the axes at given configurations: always the same bits, however many are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

from optitrace.analysis.sweeping.axis import Range, SweptAxis
from optitrace.analysis.sweeping.space import Configuration, Space
from optitrace.native.listing import LANE
from optitrace.rules.hyperparameter import Value

DIGITS = 12
"""Significant decimal digits of a number of a range, so that 0.001 is not 0.0010000000000000002."""

LONGEST_TABLE = 65_536
"""The longest range whose numbers are computed once and kept."""

KEPT = 64
"""How many tables are kept."""

Column: TypeAlias = Tensor
"""An axis at some configurations, shape (configurations,): float64 numbers, or int64 places in a list."""


def columns(space: Space, first: int, count: int) -> list[Column]:
    """Return each axis at `count` configurations from number `first` on."""
    numbers = torch.arange(first, first + -(-count // LANE) * LANE)
    return [column[:count] for column in columns_at(space, numbers)]


def columns_at(space: Space, numbers: Tensor) -> list[Column]:
    """Return each axis at the configurations of these numbers: a multiple of `LANE` of them."""
    if space.samples is not None:
        return [_drawn(axis, numbers, space.seed, stream) for stream, axis in enumerate(space.axes)]
    found: list[Column] = []
    rest = numbers.clamp(max=space.size - 1)
    for place, axis in reversed(list(enumerate(space.axes))):
        digit = rest
        if place:
            rest = rest // axis.length
            digit = digit - rest * axis.length
        found.append(_numbers(axis.values, digit) if isinstance(axis.values, Range) else digit)
    return found[::-1]


def configurations(space: Space, found: Sequence[Column]) -> list[Configuration]:
    """Return configurations as values by name."""
    per_axis = [listed(axis, column) for axis, column in zip(space.axes, found, strict=True)]
    names = [axis.name for axis in space.axes]
    return [dict(zip(names, values, strict=True)) for values in zip(*per_axis, strict=True)]


def configuration(space: Space, number: int) -> Configuration:
    """Return the configuration of a number."""
    return configurations(space, columns(space, number, 1))[0]


def listed(axis: SweptAxis, column: Column) -> list[Value]:
    """Return a column as Python values."""
    entries: list[Value] = column.tolist()
    if isinstance(axis.values, Range):
        return entries
    return [axis.values[entry] for entry in entries]  # type: ignore[index]


@lru_cache(KEPT)
def table(values: tuple[Value, ...]) -> Tensor:
    """Return the values of a list as numbers; NaN for what is none."""
    is_number = [isinstance(v, int | float) and not isinstance(v, bool) for v in values]
    return torch.tensor(
        [v if number else torch.nan for v, number in zip(values, is_number, strict=True)], dtype=torch.float64
    )


def _numbers(between: Range, digit: Tensor) -> Tensor:
    """Return the numbers at some places of a range: looked up where each occurs again and again."""
    assert between.count is not None
    if between.count <= LONGEST_TABLE:
        return _table_of_range(between)[digit]
    return _of_range(between, digit)


@lru_cache(KEPT)
def _table_of_range(between: Range) -> Tensor:
    assert between.count is not None
    return _of_range(between, torch.arange(-(-between.count // LANE) * LANE))


def _of_range(between: Range, digit: Tensor) -> Tensor:
    assert between.count is not None
    share = digit.double() / max(between.count - 1, 1)
    spaced = _at(between, share)
    spaced = torch.where(digit == between.count - 1, between.last, spaced)
    return torch.where(digit == 0, between.first, spaced)


def _at(between: Range, share: Tensor) -> Tensor:
    """Return the numbers at shares of the way from one end of a range to the other."""
    if between.logarithmic:
        return _rounded(between.first * (between.last / between.first) ** share)
    size = torch.tensor(max(abs(between.first), abs(between.last)), dtype=torch.float64)
    return _rounded(between.first + (between.last - between.first) * share, size)


def _rounded(x: Tensor, size: Tensor | None = None) -> Tensor:
    """Return numbers rounded to `DIGITS` digits of themselves, or of a number of another size."""
    exponent = (x if size is None else size).abs().log10().floor()
    scale = 10.0 ** (DIGITS - 1 - exponent)
    # beyond 10^22 a power of ten is no float, and rounding would make a number longer
    return torch.where((scale >= 1) & (scale <= 1e22), (x * scale).round() / scale, x)


def _drawn(axis: SweptAxis, numbers: Tensor, seed: int, stream: int) -> Column:
    share = uniform(numbers, seed, stream)
    if isinstance(axis.values, Range):
        return _at(axis.values, share)
    return (share * len(axis.values)).long().clamp(max=len(axis.values) - 1)


def uniform(numbers: Tensor, seed: int, stream: int) -> Tensor:
    """Return a random number from 0 to below 1 for each number of a configuration.

    The number itself is scrambled (splitmix64: Steele, Lea & Flood 2014), so that a configuration is
    the same whichever are drawn with it.
    """
    origin = _signed(_scrambled_int(_scrambled_int(seed) + stream))
    mixed = numbers * _signed(_GAMMA) + origin
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ _shifted(mixed, shift)) * _signed(factor)
    mixed = mixed ^ _shifted(mixed, 31)
    return _shifted(mixed, 11).double() * 2.0**-53


_GAMMA = 0x9E3779B97F4A7C15


def _shifted(x: Tensor, by: int) -> Tensor:
    """Return 64 bits shifted right, with zeros following."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _signed(bits: int) -> int:
    bits &= (1 << 64) - 1
    return bits - (1 << 64) if bits >> 63 else bits


def _scrambled_int(z: int) -> int:
    mask = (1 << 64) - 1
    z = (z + _GAMMA) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)
