"""The ranking of a sweep: the best configurations so far, and how many came to what end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from optitrace.analysis.sweeping.blocks import Block
from optitrace.analysis.sweeping.measures import CONVERGED, DIVERGED, ON_THE_WAY, Goal
from optitrace.analysis.sweeping.space import Configuration, Space
from optitrace.analysis.sweeping.values import configurations

OUTCOMES = {CONVERGED: "converged", ON_THE_WAY: "on the way", DIVERGED: "diverged"}
"""What came of a configuration, in words."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration and what came of it.

    Attributes:
        number: its number in the space.
        configuration: the values of the axes.
        measures: what was measured, by name; infinite for what was never reached.
        weights: the last weights.
    """

    number: int
    configuration: Configuration
    measures: Mapping[str, float]
    weights: tuple[float, ...]

    def merit(self, rank: str) -> tuple[float, float, int]:
        """Return what it is ranked by, the least first: the rank, then the final loss, then its number."""
        return _or_infinite(self.measures[rank]), _or_infinite(self.measures["final_loss"]), self.number


class Ranking:
    """Takes the blocks of a sweep one after the other and keeps the best configurations.

    Attributes:
        best: the best so far, best first.
        counts: how many configurations came to each outcome.
    """

    def __init__(self, space: Space, goal: Goal, top: int) -> None:
        self.best: list[Candidate] = []
        self.counts = dict.fromkeys(OUTCOMES.values(), 0)
        self._space = space
        self._rank = goal.rank
        self._top = top

    def add(self, block: Block) -> None:
        """Take a block."""
        for code, name in OUTCOMES.items():
            self.counts[name] += int((block.measures["outcome"] == code).sum())
        chosen = self._promising(block)
        found = configurations(self._space, [column[chosen] for column in block.columns])
        weights = block.weights[chosen].tolist()
        names = [name for name in block.measures if name != "outcome"]
        measures = zip(*(block.measures[name][chosen].tolist() for name in names), strict=True)
        numbers = (block.first + chosen).tolist()
        self.best += [
            Candidate(number, values, dict(zip(names, measured, strict=True)), tuple(last))
            for number, values, measured, last in zip(numbers, found, measures, weights, strict=True)
        ]
        self.best.sort(key=lambda candidate: candidate.merit(self._rank))
        del self.best[self._top :]

    def _promising(self, block: Block) -> Tensor:
        """Return which configurations of a block can be among the best: no fewer than are needed."""
        score, loss = (
            block.measures[name].nan_to_num(torch.inf, torch.inf, -torch.inf)
            for name in (self._rank, "final_loss")
        )
        chosen = torch.arange(len(block))
        if len(self.best) == self._top:
            worst = self.best[-1].merit(self._rank)
            chosen = (
                (score < worst[0]).logical_or((score == worst[0]) & (loss < worst[1])).nonzero().squeeze(1)
            )
        if len(chosen) <= self._top:
            return chosen
        limit = score[chosen].topk(self._top, largest=False).values[-1]  # kthvalue is slow if scores fall
        surely, maybe = chosen[score[chosen] < limit], chosen[score[chosen] == limit]
        by_loss = loss[maybe].argsort(stable=True)[: self._top - len(surely)]
        return torch.cat([surely, maybe[by_loss]])


def _or_infinite(value: float) -> float:
    return math.inf if math.isnan(value) else value
