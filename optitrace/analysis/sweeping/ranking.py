"""The ranking of a sweep: the best configurations so far, and the number of each outcome.

Configurations are ranked by the chosen measure, then by the final loss, the distance from the nearest
minimum, the steps to within the tolerance of it, the lr, and last by their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optitrace.analysis.sweeping.axis import Range
from optitrace.analysis.sweeping.blocks import Block
from optitrace.analysis.sweeping.measures import CONVERGED, DIVERGED, ON_THE_WAY, Goal
from optitrace.analysis.sweeping.space import Column, Configuration, Space, configurations, table

OUTCOMES = {CONVERGED: "converged", ON_THE_WAY: "on the way", DIVERGED: "diverged"}
"""The outcomes of a configuration, as files name them."""

MOST_TIED = 65_536
"""The number of configurations kept of those that tie for the last place shown."""

StepsOf = Callable[[Sequence[Column]], Tensor]
"""Returns the steps to within the tolerance of configurations, given their values on each axis."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration and its result.

    Attributes:
        number: its number in the space.
        configuration: the values of the axes.
        measures: the measures by name; infinite if never reached.
        weights: the last weights.
    """

    number: int
    configuration: Configuration
    measures: Mapping[str, float]
    weights: tuple[float, ...]

    def merit(self, rank: str) -> tuple[float, float, float]:
        """Return its sort key: the rank, then the final loss, then the distance."""
        names = (rank, "final_loss", "distance")
        rank_value, loss, distance = (_or_infinite(self.measures.get(name, 0.0)) for name in names)
        return rank_value, loss, distance


@dataclass(frozen=True, slots=True)
class _Entries:
    """Configurations that can still be among the best, with `merits` of shape (3, configurations)."""

    numbers: Tensor
    columns: Sequence[Column]
    weights: Tensor
    measures: Mapping[str, Tensor]
    merits: Tensor

    def __getitem__(self, chosen: Tensor) -> _Entries:
        return _Entries(
            self.numbers[chosen],
            [column[chosen] for column in self.columns],
            self.weights[chosen],
            {name: measure[chosen] for name, measure in self.measures.items()},
            self.merits[:, chosen],
        )

    def joined(self, others: _Entries) -> _Entries:
        return _Entries(
            torch.cat([self.numbers, others.numbers]),
            [torch.cat(pair) for pair in zip(self.columns, others.columns, strict=True)],
            torch.cat([self.weights, others.weights]),
            {name: torch.cat([measure, others.measures[name]]) for name, measure in self.measures.items()},
            torch.cat([self.merits, others.merits], dim=1),
        )


class Ranking:
    """Collects the best configurations from the blocks of a sweep.

    Attributes:
        counts: the number of configurations of each outcome.
        tied: the number of configurations with the best value of the rank.
    """

    def __init__(self, space: Space, goal: Goal, top: int) -> None:
        self.counts = dict.fromkeys(OUTCOMES.values(), 0)
        self.tied = 0
        self._space = space
        self._rank = goal.rank
        self._top = top
        self._least = math.inf
        self._kept: _Entries | None = None

    def add(self, block: Block) -> None:
        """Add a block."""
        for code, name in OUTCOMES.items():
            self.counts[name] += int((block.measures["outcome"] == code).sum())
        merits = self._merits(block.measures)
        self._count_ties(merits[0])
        entries = _Entries(
            block.first + torch.arange(len(block)),
            block.columns,
            block.weights,
            {name: measure for name, measure in block.measures.items() if name != "outcome"},
            merits,
        )
        promising = entries[self._promising(merits)]
        joined = promising if self._kept is None else self._kept.joined(promising)
        self._kept = joined[_first_of(joined.merits, self._top)]

    def best(self, steps_of: StepsOf | None = None) -> list[Candidate]:
        """Return the best configurations so far, best first.

        Args:
            steps_of: measures the steps of those that tie; they are not compared by them if not given.
        """
        if self._kept is None:
            return []
        kept = self._kept
        keys = [*kept.merits, self._lrs(kept), kept.numbers]
        if steps_of is not None and _has_ties(kept.merits):
            keys.insert(len(kept.merits), steps_of(kept.columns))
        first = kept[_sorted_by(keys)[: self._top]]
        found = configurations(self._space, first.columns)
        measures = zip(*(measure.tolist() for measure in first.measures.values()), strict=True)
        rows = zip(first.numbers.tolist(), found, measures, first.weights.tolist(), strict=True)
        return [
            Candidate(number, values, dict(zip(first.measures, measured, strict=True)), tuple(last))
            for number, values, measured, last in rows
        ]

    def _merits(self, measures: Mapping[str, Tensor]) -> Tensor:
        """Return what configurations are compared by before their steps; infinite in place of NaN."""
        nothing = torch.zeros_like(measures["final_loss"])
        columns = [measures.get(name, nothing) for name in (self._rank, "final_loss", "distance")]
        return torch.stack([column.nan_to_num(torch.inf, torch.inf, torch.inf) for column in columns])

    def _count_ties(self, values: Tensor) -> None:
        least = float(values.min())
        if least < self._least:
            self._least, self.tied = least, 0
        self.tied += int((values == self._least).sum()) if math.isfinite(self._least) else 0

    def _promising(self, merits: Tensor) -> Tensor:
        """Return which configurations of a block can be among the best: no fewer than are needed."""
        score = merits[0]
        if self._kept is not None and len(self._kept.numbers) >= self._top:
            return (score <= self._kept.merits[0].max()).nonzero().squeeze(1)
        if len(score) <= self._top:
            return torch.arange(len(score))
        limit = score.topk(self._top, largest=False).values[-1]  # kthvalue is slow if scores fall
        return (score <= limit).nonzero().squeeze(1)

    def _lrs(self, entries: _Entries) -> Tensor:
        for axis, column in zip(self._space.axes, entries.columns, strict=True):
            if axis.name == "lr":
                return column if isinstance(axis.values, Range) else table(axis.values)[column]
        return torch.zeros(len(entries.numbers))


def _first_of(merits: Tensor, top: int) -> Tensor:
    """Return which entries are among the first `top`, and those that tie with the last of them, in order."""
    order = _sorted_by(list(merits))
    if len(order) <= top:
        return order
    last = merits[:, order[top - 1]]
    if not torch.isfinite(last).all():
        return order[:top]
    tied = (merits[:, order[top:]] == last[:, None]).all(0)
    return torch.cat([order[:top], order[top:][tied]])[: top + MOST_TIED]


def _sorted_by(keys: Sequence[Tensor]) -> Tensor:
    """Return the places of entries, sorted by the first key, then by the second, and so on."""
    order = torch.arange(len(keys[0]))
    for key in reversed(keys):
        order = order[key[order].argsort(stable=True)]
    return order


def _has_ties(merits: Tensor) -> bool:
    ordered = merits[:, _sorted_by(list(merits))]
    return bool((ordered[:, 1:] == ordered[:, :-1]).all(0).any())


def _or_infinite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
