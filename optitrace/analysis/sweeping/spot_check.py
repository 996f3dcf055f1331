"""The spot check: a few configurations of a sweep, traced with the real torch optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from optitrace.analysis.sweeping.blocks import run_numbers
from optitrace.analysis.sweeping.space import Configuration, Space, columns_at, configurations, uniform
from optitrace.analysis.tolerance import ulp
from optitrace.experiment.experiment import Experiment
from optitrace.native.machine_code import LANE
from optitrace.records.trace import TraceRecord
from optitrace.tracing.tracer import trace

OTHERS = 9
"""Configurations that are checked beside the best."""

ULPS_A_STEP = 8
"""The tolerance of one step, in ulps."""

FEWEST_ULPS = 64
"""The smallest tolerance of a run, in ulps."""

NUDGES = (1, -1, 16, -16)
"""By how many units in the last place the start is moved to see what a run makes of it."""

_STREAM = -1


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """One configuration, run by the rule and by torch.

    Attributes:
        configuration: the values of the axes.
        ulps: how far the last weights are apart, in units in the last place of the largest weight of
            the run; 0 if neither is finite, infinite if just one is.
        growth: how far torch's own last weights move if the start is moved by one unit, in the same
            unit; 1 if that was not needed to judge.
        agrees: whether the distance is no more than rounding, and what the run makes of it.
    """

    configuration: Configuration
    ulps: float
    growth: float
    agrees: bool


def spot_check(space: Space, best: int, others: int = OTHERS) -> list[SpotCheck]:
    """Trace the best configuration and some others with torch and compare them with the rule.

    Both round each step, and each goes on from what it rounded; so the tolerance grows with the steps.
    Where a run magnifies its own rounding, as one that leaps to and fro does, the tolerance grows with it.
    """
    drawn = (uniform(torch.arange(LANE * 4), space.seed, _STREAM) * space.size).long().tolist()
    numbers = list(dict.fromkeys([best, *drawn]))[: others + 1]
    padded = torch.tensor(numbers + numbers[-1:] * (-len(numbers) % LANE))
    with torch.inference_mode():
        found = [column[: len(numbers)] for column in columns_at(space, padded)]
    ours = run_numbers(space, found).weights.tolist()
    pairs = zip(configurations(space, found), ours, strict=True)
    return [_check(space, configuration, weights) for configuration, weights in pairs]


def _check(space: Space, configuration: Configuration, weights: list[float]) -> SpotCheck:
    experiment = space.experiment(configuration)
    traced = trace(experiment)
    unit = _unit(traced)
    ulps = _distance(_last(traced), weights) / unit
    tolerance = max(FEWEST_ULPS, ULPS_A_STEP * experiment.steps)
    growth = 1.0
    if ulps > tolerance:
        step = ulp(max(map(abs, experiment.start)), _dtype(experiment))
        for nudge in NUDGES:
            nudged = replace(experiment, start=tuple(w + nudge * step for w in experiment.start))
            growth = max(growth, _distance(_last(trace(nudged)), _last(traced)) / unit / abs(nudge))
    return SpotCheck(configuration, ulps, growth, ulps <= tolerance * growth)


def _last(traced: TraceRecord) -> tuple[float, ...]:
    return traced.weights.row(len(traced.steps) - 1) or ()


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    is_finite = [all(map(math.isfinite, weights)) for weights in (a, b)]
    if all(is_finite):
        return max(abs(x - y) for x, y in zip(a, b, strict=True))
    return 0.0 if is_finite[0] == is_finite[1] else math.inf


def _unit(traced: TraceRecord) -> float:
    """Return one unit in the last place of the largest weight of a run."""
    largest = max((abs(w) for w in traced.weights.values if math.isfinite(w)), default=0.0)
    return ulp(largest, _dtype(traced.experiment))


def _dtype(experiment: Experiment) -> str:
    """Return the coarsest dtype of a run: torch keeps a scalar of the state in float32."""
    rule = experiment.entry.rule
    keeps_scalars = rule is not None and any(entry.scalar for entry in rule.state)
    return "float32" if keeps_scalars and experiment.dtype == "float64" else experiment.dtype
