"""Scenes of real runs, to be looked at and drawn."""

from __future__ import annotations

from functools import cache
from typing import Any

from optitrace.analysis.comparison import RankedRuns, compare
from optitrace.analysis.loss_grid import terrain
from optitrace.analysis.sweeping.measures import Goal
from optitrace.analysis.sweeping.space import lay_out
from optitrace.analysis.sweeping.sweep import SweepResult, sweep
from optitrace.experiment.experiment import design
from optitrace.records.trace import NamedTrace, TraceRecord
from optitrace.tracing.tracer import trace
from optitrace.views.pictures.run_scenes import compare_scene, trace_scene
from optitrace.views.pictures.scene import Kind, Mark, Panel, Position, Scene

HYPERPARAMETERS: tuple[str, ...] = ("lr", "momentum", "betas")


@cache
def traced(optimizer: str = "sgd", steps: int = 10, **settings: Any) -> TraceRecord:
    """Return the trace of a run; of the settings only `HYPERPARAMETERS` are the optimizer's."""
    own = {name: settings.pop(name) for name in HYPERPARAMETERS if name in settings}
    return trace(design(optimizer, own, steps=steps, **settings))


@cache
def scene_of(optimizer: str = "sgd", steps: int = 10, **settings: Any) -> Scene:
    """Return the picture of a run."""
    run = traced(optimizer, steps, **settings)
    return trace_scene(run, terrain([run]))


@cache
def compared(*optimizers: str, steps: int = 30, **settings: Any) -> RankedRuns:
    """Return a comparison of runs at lr 0.1."""
    return compare([NamedTrace(o, traced(o, steps, lr=0.1, **settings)) for o in optimizers])


@cache
def compared_scene(*optimizers: str, steps: int = 30, **settings: Any) -> Scene:
    """Return its picture."""
    comparison = compared(*optimizers, steps=steps, **settings)
    return compare_scene(comparison, terrain([named.trace for named in comparison.traces]))


@cache
def swept(
    *axes: str, optimizer: str = "sgd", steps: int = 60, samples: int | None = None, **settings: Any
) -> SweepResult:
    """Return a sweep."""
    return sweep(lay_out(design(optimizer, steps=steps, **settings), axes, samples=samples), Goal())


def points(panel: Panel, line: int = 0) -> list[Position]:
    """Return the steps of a line of a panel."""
    return [point for stroke in panel.lines[line].strokes for point in stroke.dots]


def marks(panel: Panel, kind: Kind) -> list[Mark]:
    """Return the marks of a kind."""
    return [mark for mark in panel.marks if mark.kind is kind]
