"""The space of a sweep: its configurations, and their values computed from the numbers of configurations.

The values have the same bits, however many are computed at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

from optitrace.analysis.sweeping.axis import Range, SweptAxis, check_axes, read_axis
from optitrace.errors import UsageError, integer
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.objective import Point, Quadratic
from optitrace.native.machine_code import LANE
from optitrace.rules.hyperparameter import Value, show

LARGEST_UNASKED = 100_000_000
"""The largest number of configurations that are run without confirmation."""

Configuration = Mapping[str, Value]
"""The values of the axes, by their names."""

_KNOWN_TO_RULES = frozenset(
    ("optimizer", "custom", "hyperparameters", "objective", "start", "steps", "gradient", "dtype", "device")
)
_WITHOUT_EFFECT = frozenset(("implementation", "seed"))


DIGITS = 12
"""Significant decimal digits of a number of a range, so that 0.001 is not 0.0010000000000000002."""

LONGEST_TABLE = 65_536
"""The longest range whose numbers are computed once and kept."""

KEPT = 64
"""The number of cached tables."""

Column: TypeAlias = Tensor
"""An axis at some configurations, shape (configurations,): float64 numbers, or int64 places in a list."""

_GAMMA = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Space:
    """An experiment and its varied settings.

    Attributes:
        base: the experiment without variation.
        axes: the varied settings; an axis of one value sets it.
        samples: the number of configurations drawn; None for the grid of all combinations.
        seed: the seed of the draw.
    """

    base: Experiment
    axes: tuple[SweptAxis, ...]
    samples: int | None = None
    seed: int = 0

    @property
    def size(self) -> int:
        """The number of configurations."""
        return math.prod(axis.length for axis in self.axes) if self.samples is None else self.samples

    @property
    def varied(self) -> tuple[SweptAxis, ...]:
        """The axes with more than one value."""
        if self.samples is None:
            return tuple(axis for axis in self.axes if axis.length > 1)
        return tuple(a for a in self.axes if isinstance(a.values, Range) or a.length > 1)

    @property
    def minima(self) -> tuple[Point, ...]:
        """The minima that the losses of all configurations share; none if one of them has others, or none.

        A quadratic has its minimum where all coefficients are positive, and only there: so the ends of the
        axes decide.
        """
        bent = replace(self, axes=tuple(a for a in self.axes if a.setting == "coefficients"))
        found = {bent.experiment(corner).objective.minima for corner in corners(bent)}
        return found.pop() if len(found) == 1 else ()

    @property
    def has_rule(self) -> bool:
        """Whether the optimizer's rule alone decides a run; if not, its class has to be stepped."""
        known = _KNOWN_TO_RULES | _WITHOUT_EFFECT
        others = (f for f in fields(Experiment) if f.name not in known)
        return self.base.entry.rule is not None and all(
            getattr(self.base, f.name) == f.default for f in others
        )

    def experiment(self, configuration: Configuration) -> Experiment:
        """Return the experiment of a configuration.

        Raises:
            UsageError: a value is out of range.
        """
        settings: dict[str, Value] = dict(self.base.hyperparameters)
        points: dict[str, Value] = {"start": self.base.start}
        if isinstance(self.base.objective, Quadratic):
            points["coefficients"] = self.base.objective.coefficients
        for axis in self.axes:
            place = points if axis.setting in points else settings
            value = configuration[axis.name]
            place[axis.setting] = value if axis.position is None else _with(place[axis.setting], axis, value)
        objective = self.base.objective
        if isinstance(objective, Quadratic):
            objective = replace(objective, coefficients=points["coefficients"])  # type: ignore[arg-type]
        return replace(
            self.base,
            hyperparameters=self.base.entry.settings(settings),
            start=points["start"],  # type: ignore[arg-type]
            objective=objective,
        )


def lay_out(
    base: Experiment,
    axes: Sequence[str | SweptAxis],
    *,
    samples: int | None = None,
    seed: int = 0,
    confirmed: bool = False,
) -> Space:
    """Return the space that some axes span around an experiment.

    Args:
        base: the experiment without variation.
        axes: what is varied; a text is read as `read_axis` reads it.
        samples: how many configurations to draw; the grid of all combinations if not given.
        seed: the seed of the draw.
        confirmed: whether more than `LARGEST_UNASKED` configurations are meant.

    Raises:
        UsageError: an axis cannot be read, nothing is varied, or there are too many configurations.
    """
    read = tuple(
        axis if isinstance(axis, SweptAxis) else read_axis(axis, base, sampled=samples is not None)
        for axis in axes
    )
    check_axes(read)
    space = Space(base, read, samples, seed)
    if not axes:
        raise UsageError("nothing is varied; say what with -P, as in -P lr=log:1e-4:1:200.")
    if samples is not None:
        integer("random", samples, least=1)
    if space.size > LARGEST_UNASKED and not confirmed:
        raise UsageError(
            f"the sweep has {space.size:,} configurations, more than {LARGEST_UNASKED:,}; "
            "make its ranges coarser, or confirm it: --yes, in Python yes=True."
        )
    return space


def corners(space: Space) -> list[Configuration]:
    """Return the configurations that decide whether all can be run: all combinations of the axes' ends."""
    names = [axis.name for axis in space.axes]
    ends = itertools.product(*(axis.ends for axis in space.axes))
    return [dict(zip(names, values, strict=True)) for values in ends]


def described(configuration: Configuration) -> str:
    """Return a configuration in words.

    >>> described({"lr": 0.1, "betas.1": 0.9})
    'lr=0.1, betas.1=0.9'
    """
    return ", ".join(f"{name}={show(value)}" for name, value in configuration.items())


def _with(whole: Value, axis: SweptAxis, value: Value) -> Value:
    """Return a tuple with one of its numbers replaced."""
    assert isinstance(whole, tuple)
    assert value is None or isinstance(value, int | float)
    return tuple(value if k == axis.position else number for k, number in enumerate(whole))


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
        return column.long().tolist() if axis.values.whole else entries
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
        return _rounded(between.at(share))
    size = torch.tensor(max(abs(between.first), abs(between.last)), dtype=torch.float64)
    return _rounded(between.at(share), size)


def _rounded(x: Tensor, size: Tensor | None = None) -> Tensor:
    """Return numbers rounded to `DIGITS` digits of themselves, or of a number of another size."""
    exponent = (x if size is None else size).abs().log10().floor()
    scale = 10.0 ** (DIGITS - 1 - exponent)
    # beyond 10^22 a power of ten is no float, and rounding would make a number longer
    return torch.where((scale >= 1) & (scale <= 1e22), (x * scale).round() / scale, x)


def _drawn(axis: SweptAxis, numbers: Tensor, seed: int, stream: int) -> Column:
    share = uniform(numbers, seed, stream)
    if isinstance(axis.values, Range):
        return _whole(axis.values, share) if axis.values.whole else _at(axis.values, share)
    return (share * len(axis.values)).long().clamp(max=len(axis.values) - 1)


def _whole(between: Range, share: Tensor) -> Tensor:
    """Return the whole numbers that are nearest to shares of a range, which has half a number at each end."""
    low, high = sorted((between.first, between.last))
    around: Tensor = replace(between, first=low - 0.5, last=high + 0.5).at(share)
    return around.round().clamp(low, high)


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
