"""Sweeps from Python: many settings at once, as tensors, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optitrace.errors import UsageError, integer
from optitrace.experiment.text import command_line
from optitrace.python.shown import ShownInNotebook
from optitrace.python.traces import Trace, experiment_of
from optitrace.rules.hyperparameter import Value, show
from optitrace.views.presenters.sweep import SweepPresenter, columns_of

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from optitrace.analysis.sweeping import sweep as sweeping
    from optitrace.analysis.sweeping.axis import SweptAxis
    from optitrace.analysis.sweeping.blocks import Block
    from optitrace.analysis.sweeping.measures import Goal
    from optitrace.analysis.sweeping.ranking import Candidate
    from optitrace.analysis.sweeping.space import Space
    from optitrace.experiment.experiment import Experiment
    from optitrace.rules.rule import Rule


class Sweep(ShownInNotebook):
    """Every configuration of a sweep, and which are best. Printed, it is the picture and the table.

    Tensors have a first axis of configurations, in their order: the last axis of the sweep varies fastest.

    Attributes:
        record: the result.
    """

    def __init__(self, record: sweeping.SweepResult, blocks: Sequence[Block]) -> None:
        self.record = record
        self._blocks = blocks

    @property
    def best(self) -> Sequence[Candidate]:
        """The best configurations, best first: for each its `configuration`, `measures` and `weights`."""
        return self.record.best

    @property
    def best_settings(self) -> Mapping[str, Value]:
        """The values of the best configuration, by the names of what was varied."""
        return self.record.best[0].configuration

    @property
    def counts(self) -> Mapping[str, int]:
        """How many configurations converged, did not converge, and diverged."""
        return self.record.counts

    @property
    def settings(self) -> Mapping[str, list[Value]]:
        """The value of each varied setting in each configuration, by name."""
        from optitrace.analysis.sweeping.space import listed

        return {
            axis.name: [value for block in self._blocks for value in listed(axis, block.columns[k])]
            for k, axis in enumerate(self.record.space.axes)
        }

    @property
    def weights(self) -> Tensor:
        """The last weights, shape (configurations, coordinates), in the dtype of the run."""
        import torch

        return torch.cat([block.weights for block in self._blocks])

    @property
    def measures(self) -> Mapping[str, Tensor]:
        """The measures by name, float64, each of shape (configurations,).

        They are ``final_loss``; ``distance`` where a minimum is known; ``steps`` or ``path`` where it is
        the rank; infinite where that was never reached.
        """
        import torch

        names = [name for name in self._blocks[0].measures if name != "outcome"]
        return {name: torch.cat([block.measures[name] for block in self._blocks]) for name in names}

    def trace(self, rank: int = 1) -> Trace:
        """Trace one of the best configurations with torch.

        Args:
            rank: which, the best being 1.

        Raises:
            UsageError: there is none of that rank.
        """
        best = self.record.best
        if not 1 <= rank <= len(best):
            raise UsageError(f"there is no rank {rank}; {len(best)} are kept, and the best is 1.")
        from optitrace.tracing.tracer import trace

        return Trace(trace(self.record.experiment(best[rank - 1].configuration)))

    def to_json(self) -> str:
        """Return every configuration and what was found as JSON, the same that ``--format json`` writes."""
        return self._written("json")

    def to_csv(self) -> str:
        """Return every configuration as CSV, the same that ``--format csv`` writes."""
        return self._written("csv")

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={show(value)}" for name, value in self.best_settings.items())
        return f"<Sweep of {self.record.space.base.optimizer}: best {settings} of {self.record.finished:,}>"

    @property
    def _presenter(self) -> SweepPresenter:
        return SweepPresenter(
            [self.record],
            [command_line(self.record.experiment(self.best_settings))] if self.record.best else [""],
            lambda: (columns_of(self.record.space, block) for block in self._blocks),
        )


def sweep(
    optimizer: str | type[Optimizer] | Rule | Callable[..., Any],
    varied: Mapping[str, str | Iterable[Value]],
    *,
    steps: int = 10,
    device: str = "cpu",
    random: int | None = None,
    rank: str = "final_loss",
    tolerance: float = 1e-6,
    threads: int | None = None,
    backend: str = "loky",
    yes: bool = False,
    **settings: Any,
) -> Sweep:
    """Run an optimizer under every combination of settings, and rank them.

    >>> found = sweep("sgd", {"lr": "0.1:0.5:5", "momentum": [0.0, 0.5]}, steps=20)
    >>> found.best_settings
    {'lr': 0.3, 'momentum': 0.0}
    >>> found.weights.shape
    torch.Size([10, 2])

    Args:
        optimizer: the name of an optimizer, or a class or rule, as `optitrace.trace` takes them.
        varied: the values of each hyperparameter, of ``start`` and of ``coefficients``: in a list, or as
            on the command line, ``"0.1:0.9:17"`` or ``"log:1e-4:1:200"``. One number of several is named
            by its position from 0, as in ``betas.1``.
        steps: how many steps each configuration takes.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.
        random: how many configurations to draw from the ranges, by ``seed``; all combinations if not given.
        rank: by what they are ranked: ``final_loss``, ``steps``, ``distance`` or ``path``.
        tolerance: the distance from the loss at the minimum that counts as converged.
        threads: how many work at once; one for each core if not given. It changes no result.
        backend: where a class without a rule is stepped: ``loky``, ``dask`` or ``ray``.
        yes: run more than 100 million configurations. All are held in memory.
        **settings: what is the same in all, as `trace` takes it.

    Raises:
        UsageError: a name is not known, or a value or a combination of them cannot be run.
        DeviceError: the device is not there, or has too little memory.
    """
    from optitrace.analysis.sweeping.measures import Goal
    from optitrace.analysis.sweeping.space import lay_out
    from optitrace.analysis.sweeping.sweep import Workers

    if not isinstance(varied, Mapping) or not varied:
        raise UsageError(
            f"what is varied is {varied!r}; give its values by name, as in {{'lr': 'log:1e-4:1:200'}}."
        )
    if threads is not None:
        integer("threads", threads, least=1)
    base = experiment_of(optimizer, steps, device, settings)
    axes = [_axis(name, values, base) for name, values in varied.items()]
    space = lay_out(base, axes, samples=random, seed=base.seed, confirmed=yes)
    return _swept(space, Goal(rank, tolerance), Workers(threads=threads, backend=backend))


def _swept(space: Space, goal: Goal, workers: sweeping.Workers) -> Sweep:
    from optitrace.analysis.sweeping.sweep import check_space
    from optitrace.analysis.sweeping.sweep import sweep as run

    check_space(space, goal, workers)
    blocks: list[Block] = []
    return Sweep(run(space, goal, workers=workers, take=blocks.append), blocks)


def _axis(name: str, values: str | Iterable[Value], base: Experiment) -> str | SweptAxis:
    """Return an axis: a text is a range or a list as on the command line."""
    from optitrace.analysis.sweeping.axis import list_axis

    if isinstance(values, str):
        return f"{name}={values}"
    if not isinstance(values, Iterable):
        raise UsageError(f"the values of {name} are {values!r}; give a list of them, or a text as '0.1,0.2'.")
    return list_axis(name, values, base)
