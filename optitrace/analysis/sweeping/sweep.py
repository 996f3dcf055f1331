"""The sweep: every configuration of a space, ranked, some of them checked with torch; and the best lr."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from optitrace.analysis.sweeping.blocks import Block, blocks_by_rule, run_numbers
from optitrace.analysis.sweeping.classes import blocks_by_class, check_backend, steps_by_class
from optitrace.analysis.sweeping.loss_map import LossMap, Surveyor
from optitrace.analysis.sweeping.measures import Goal, check_goal
from optitrace.analysis.sweeping.ranking import Candidate, Ranking, StepsOf
from optitrace.analysis.sweeping.space import Configuration, Space, corners, described, lay_out
from optitrace.analysis.sweeping.spot_check import SpotCheck, spot_check
from optitrace.errors import UsageError
from optitrace.experiment.experiment import Experiment
from optitrace.tracing.tracer import trace

TOP = 10
"""The number of best configurations that are kept."""


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of a sweep; they do not affect the result.

    Attributes:
        threads: the number of blocks run at once; the number of cores if None.
        chunk: the number of configurations in a batch; chosen by device if None.
        backend: the joblib backend that runs classes without a rule.
    """

    threads: int | None = None
    chunk: int | None = None
    backend: str = "loky"


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        space: the space that was swept.
        goal: the goal.
        finished: the number of configurations run; fewer than in the space if it was interrupted.
        counts: the number that converged, did not converge, and diverged.
        best: the best of them, best first.
        tied: the number with the best value of the rank; 0 if no value is finite.
        landscape: the final loss over the varied axes; None unless one or two numbers are varied.
        checks: the best and some others, traced with torch; None if torch itself was stepped
            anyway, or has no class of the rule.
    """

    space: Space
    goal: Goal
    finished: int
    counts: Mapping[str, int]
    best: Sequence[Candidate]
    tied: int
    landscape: LossMap | None
    checks: Sequence[SpotCheck] | None

    @property
    def is_complete(self) -> bool:
        """Whether every configuration was run."""
        return self.finished == self.space.size

    def experiment(self, configuration: Configuration) -> Experiment:
        """Return the experiment of a configuration."""
        return self.space.experiment(configuration)


def check_space(space: Space, goal: Goal, workers: Workers = Workers()) -> None:
    """Check that every configuration of a space can be run.

    Every range that torch checks is an interval, so that torch itself is asked to take one step at all
    combinations of the axes' least and greatest numbers.

    Raises:
        UsageError: a value is out of range, which is named; or the goal or a worker is not there.
        DeviceError: the device is not there.
    """
    check_goal(goal, space)
    if not space.has_rule:
        check_backend(workers.backend)
    for corner in corners(space):
        try:
            trace(_of_one_step(space.experiment(corner)))
        except UsageError as error:
            raise UsageError(
                f"{str(error).rstrip('.')}; leave out what contains {described(corner)}."
            ) from error


def sweep(
    space: Space,
    goal: Goal,
    *,
    workers: Workers = Workers(),
    stop: Callable[[], bool] = lambda: False,
    take: Callable[[Block], None] = lambda block: None,
) -> SweepResult:
    """Run every configuration of a space, and rank them.

    Args:
        space: what to sweep, as `check_space` passed it.
        goal: the goal.
        workers: the workers.
        stop: called repeatedly; once it returns true, the finished part is returned.
        take: called with each block, in the order of the configurations.

    Raises:
        DeviceError: the device is not there, or has too little memory.
    """
    ranking, surveyor = Ranking(space, goal, TOP), Surveyor(space)
    finished = 0
    for block in run_blocks(space, goal, workers, stop):
        ranking.add(block)
        surveyor.add(block)
        take(block)
        finished += len(block)
    is_complete = finished == space.size
    best = ranking.best(_steps_of(space, goal, workers) if is_complete else None)
    judged = bool(best) and space.has_rule and is_complete and bool(space.base.entry.class_path)
    return SweepResult(
        space=space,
        goal=goal,
        finished=finished,
        counts=ranking.counts,
        best=best,
        tied=ranking.tied,
        landscape=surveyor.landscape(best[0] if best else None),
        checks=spot_check(space, best[0].number) if judged else None,
    )


def run_blocks(space: Space, goal: Goal, workers: Workers, stop: Callable[[], bool]) -> Iterator[Block]:
    """Yield the blocks of a space, by the rule where it alone decides, and else by torch's class."""
    if space.has_rule:
        return blocks_by_rule(space, goal, threads=workers.threads, chunk=workers.chunk, stop=stop)
    return blocks_by_class(space, goal, threads=workers.threads, backend=workers.backend, stop=stop)


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


def _steps_of(space: Space, goal: Goal, workers: Workers) -> StepsOf | None:
    """Return what measures the steps of configurations that tie; None where they are known or have none."""
    if goal.rank == "steps" or not space.minima:
        return None
    to_tolerance = replace(goal, rank="steps")
    if space.has_rule:
        return lambda found: run_numbers(space, found, to_tolerance).measures["steps"]
    return partial(steps_by_class, space, to_tolerance, threads=workers.threads, backend=workers.backend)


def _of_one_step(experiment: Experiment) -> Experiment:
    return replace(experiment, steps=min(experiment.steps, 1))
