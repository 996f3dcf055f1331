"""The smallest final loss over one or two varied axes, in bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optitrace.analysis.sweeping.axis import Range, SweptAxis
from optitrace.analysis.sweeping.blocks import Block
from optitrace.analysis.sweeping.measures import DIVERGED
from optitrace.analysis.sweeping.ranking import Candidate
from optitrace.analysis.sweeping.space import Column, Space
from optitrace.analysis.theory import stability_limit

MOST_BINS = (120, 24)
"""Bins along the first and along the second axis."""


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis in bins.

    Attributes:
        axis: the axis.
        bins: how many bins it has.
    """

    axis: SweptAxis
    bins: int

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last number of the axis."""
        if isinstance(self.axis.values, Range):
            return self.axis.values.first, self.axis.values.last
        numbers = [v for v in self.axis.values if isinstance(v, int | float)]
        return numbers[0], numbers[-1]

    @property
    def is_logarithmic(self) -> bool:
        """Whether it is logarithmic."""
        return isinstance(self.axis.values, Range) and self.axis.values.logarithmic

    def middle(self, place: int) -> float:
        """Return the number in the middle of a bin; of a list, one of the values in it."""
        if isinstance(self.axis.values, Range):
            number: float = self.axis.values.at(place / (self.bins - 1))
            return round(number) if self.axis.values.whole else number
        value = self.axis.values[(2 * place + 1) * len(self.axis.values) // (2 * self.bins)]
        assert isinstance(value, int | float)
        return value

    def place(self, value: float) -> float:
        """Return the bin of a number, with the fraction of the bin below it; NaN for none."""
        if not isinstance(self.axis.values, Range):
            return math.nan
        return float(self._positions(torch.tensor(value, dtype=torch.float64)))

    def places(self, column: Column) -> Tensor:
        """Return the bin of each configuration of a block."""
        if not isinstance(self.axis.values, Range):
            return column * self.bins // len(self.axis.values)
        return self._positions(column).long().clamp(0, self.bins - 1)

    def _positions(self, numbers: Tensor) -> Tensor:
        first, last = self.ends
        if self.is_logarithmic:
            first, last, numbers = math.log(first), math.log(last), numbers.log()
        return (numbers - first) / (last - first) * (self.bins - 1) + 0.5


@dataclass(frozen=True, slots=True)
class LossMap:
    """The least final loss in each bin.

    Attributes:
        across: the axis that is drawn from left to right.
        up: the axis that is drawn upwards; None if just one is varied.
        losses: for each bin of `up`, the least final loss in each bin of `across`: infinite where every
            configuration diverged, NaN where there is none.
        limits: for each bin of `up`, the stability limit of lr; NaN where theory knows none. Empty where
            lr is not the axis across.
        best: the bins of the best configuration, across and up.
    """

    across: Scale
    up: Scale | None
    losses: Sequence[Sequence[float]]
    limits: Sequence[float]
    best: tuple[int, int] | None


def drawn_axes(space: Space) -> list[SweptAxis] | None:
    """Return the axis across and the axis upwards, if one or two numbers are varied and nothing else."""
    if len(space.varied) not in (1, 2) or not all(axis.is_number for axis in space.varied):
        return None
    # lr goes across, where its stability limit can be drawn
    return sorted(space.varied, key=lambda axis: axis.setting != "lr")


class Surveyor:
    """Collects the smallest loss of each bin from the blocks of a sweep, if one or two numbers are varied."""

    def __init__(self, space: Space) -> None:
        self._space = space
        axes = drawn_axes(space)
        self._is_due = axes is not None
        self._scales = [
            Scale(axis, _bins(space, axis, most)) for axis, most in zip(axes or (), MOST_BINS, strict=False)
        ]
        shape = [scale.bins for scale in reversed(self._scales)]
        self._losses = torch.full(shape, torch.nan, dtype=torch.float64).flatten()

    def add(self, block: Block) -> None:
        """Add a block."""
        if not self._is_due:
            return
        place = torch.zeros(len(block), dtype=torch.int64)
        for scale in reversed(self._scales):
            place = place * scale.bins + scale.places(block.columns[self._space.axes.index(scale.axis)])
        losses = block.measures["final_loss"].masked_fill(block.measures["outcome"] == DIVERGED, torch.inf)
        least = torch.full_like(self._losses, torch.inf).scatter_reduce(0, place, losses, "amin")
        seen = torch.zeros_like(self._losses).scatter(0, place, 1.0) > 0
        self._losses = torch.where(seen, torch.fmin(self._losses, least), self._losses)

    def landscape(self, best: Candidate | None) -> LossMap | None:
        """Return the map; None unless one or two numbers are varied."""
        if not self._is_due:
            return None
        across, up = self._scales[0], self._scales[1] if len(self._scales) == 2 else None
        rows = up.bins if up else 1
        return LossMap(
            across,
            up,
            self._losses.reshape(rows, across.bins).tolist(),
            self._limits(across, up, rows),
            self._bins_of(best) if best else None,
        )

    def _bins_of(self, best: Candidate) -> tuple[int, int]:
        places = []
        for scale in self._scales:
            value, values = best.configuration[scale.axis.name], scale.axis.values
            column = [value] if isinstance(values, Range) else [values.index(value)]
            places.append(int(scale.places(torch.tensor(column, dtype=torch.float64))))
        return places[0], places[1] if len(places) == 2 else 0

    def _limits(self, across: Scale, up: Scale | None, rows: int) -> list[float]:
        if across.axis.name != "lr":
            return []
        limits = []
        fixed = {axis.name: axis.ends[0] for axis in self._space.axes if axis not in self._space.varied}
        for row in range(rows):
            varied = {"lr": across.middle(0), **({up.axis.name: up.middle(row)} if up else {})}
            limit = stability_limit(self._space.experiment({**fixed, **varied}))
            limits.append(math.nan if limit is None else limit.lr)
        return limits


def _bins(space: Space, axis: SweptAxis, most: int) -> int:
    if space.samples is None or not isinstance(axis.values, Range):
        return min(axis.length, most)
    span = abs(axis.values.last - axis.values.first)
    return min(int(span) + 1, most) if axis.values.whole else most
