"""Tuning: the learning rate at which a run comes furthest, found by a sweep."""

from __future__ import annotations

from dataclasses import dataclass

from optitrace.analysis.sweeping.measures import Goal
from optitrace.analysis.sweeping.ranking import Ranking
from optitrace.analysis.sweeping.space import lay_out
from optitrace.analysis.sweeping.sweep import Workers, run_blocks
from optitrace.experiment.experiment import Experiment


@dataclass(frozen=True, slots=True)
class TuningGrid:
    """Learning rates to try, logarithmically spaced.

    Attributes:
        least: the least of them.
        greatest: the greatest.
        count: how many there are.
    """

    least: float = 1e-5
    greatest: float = 10.0
    count: int = 241

    @property
    def axis(self) -> str:
        """The grid as an axis of a sweep."""
        return f"lr=log:{self.least:g}:{self.greatest:g}:{self.count}"


FINE = TuningGrid()
"""Forty to a decade: what is tried by a rule."""

COARSE = TuningGrid(count=61)
"""Ten to a decade: what is tried by stepping a class that has no rule."""


DESCRIPTION = f"of a sweep from {FINE.least:g} to {FINE.greatest:g}"
"""Where the learning rates of tuned runs come from, in words."""


def tune(experiment: Experiment) -> Experiment:
    """Return an experiment with the lr at which its final loss is least, of those of a grid.

    Where every lr diverges, the experiment is returned as it is.

    Raises:
        UsageError: the optimizer has no lr, or cannot be run.
        DeviceError: the device is not there.
    """
    goal = Goal()
    fine = lay_out(experiment, [FINE.axis])
    space = fine if fine.has_rule else lay_out(experiment, [COARSE.axis])
    ranking = Ranking(space, goal, top=1)
    for block in run_blocks(space, goal, Workers(), lambda: False):
        ranking.add(block)
    best = ranking.best()
    return space.experiment(best[0].configuration) if best else experiment
