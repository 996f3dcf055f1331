"""Spaces to sweep: for every rule a small grid that takes its branches and varies what can be varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from optitrace.analysis.sweeping.blocks import blocks_by_rule
from optitrace.analysis.sweeping.measures import USUAL_GOAL, Goal
from optitrace.analysis.sweeping.space import Space, lay_out
from optitrace.experiment.experiment import design

GRIDS: Mapping[str, Sequence[str]] = {
    "sgd": (
        "lr=log:0.01:0.3:3",
        "momentum=0,0.5,0.9",
        "dampening=0:0.5:2",
        "weight_decay=0,0.1",
        "maximize=true,false",
    ),
    "asgd": ("lr=0.01,0.1", "lambd=0,0.1", "alpha=0.5:1:2", "t0=0,5,1e6", "weight_decay=0,0.1"),
    "rprop": ("lr=0.01,0.1", "etas.0=0.3:0.6:2", "etas.1=1.1,1.3", "step_sizes=1e-6;50,1e-3;0.1"),
    "adam": (
        "lr=log:0.001:0.1:3",
        "betas.0=0,0.5,0.9",
        "betas.1=0.9:0.999:2",
        "weight_decay=0,0.1",
        "amsgrad=true,false",
        "decoupled_weight_decay=true,false",
    ),
    "adamw": ("lr=0.001,0.1", "betas=0.9;0.999,0.5;0.9", "eps=log:1e-8:1e-2:2", "weight_decay=0,0.1"),
    "adamax": ("lr=0.001,0.1", "betas.1=0.9,0.99", "weight_decay=0,0.1", "maximize=true,false"),
    "nadam": (
        "lr=0.001,0.1",
        "betas.0=0.5,0.9",
        "momentum_decay=0,0.004,0.1",
        "decoupled_weight_decay=true,false",
    ),
    "radam": ("lr=0.001,0.1", "betas.1=0.6,0.99,0.999", "weight_decay=0,0.1"),
    "sparseadam": ("lr=0.001,0.1", "betas.0=0.5,0.9", "eps=1e-8,1e-2"),
    "adagrad": ("lr=0.01,0.5", "lr_decay=0:1:3", "initial_accumulator_value=0,0.3", "eps=1e-10,1e-2"),
    "adadelta": ("lr=0.5,1", "rho=0.5:0.9:3", "eps=log:1e-6:1e-2:3"),
    "rmsprop": (
        "lr=0.001,0.01",
        "alpha=0.9,0.99",
        "momentum=0,0.5",
        "centered=true,false",
        "weight_decay=0,0.1",
    ),
    "adafactor": ("lr=0.01,0.5", "eps.0=none,0.001", "eps.1=0.001,0.1", "d=1,1.5", "beta2_decay=-0.8,-0.5"),
    "muon": (
        "lr=0.01,0.1",
        "momentum=0.5,0.95",
        "nesterov=true,false",
        "ns_steps=1:3:3",
        "ns_coefficients.0=3,3.4445",
        "adjust_lr_fn=original,match_rms_adamw,none",
    ),
}
"""Axes by optimizer: together they make tensors of numbers, take zeros apart, and vary what is no number."""

STEPS = 12


def space(
    optimizer: str, axes: Sequence[str] | None = None, samples: int | None = None, **settings: Any
) -> Space:
    """Return a space of an optimizer: its grid of `GRIDS` if no axes are given."""
    base = design(optimizer, steps=settings.pop("steps", STEPS), **settings)
    return lay_out(base, GRIDS[optimizer] if axes is None else axes, samples=samples, seed=7)


def everything(swept: Space, goal: Goal = USUAL_GOAL, **workers: Any) -> dict[str, torch.Tensor]:
    """Return what a sweep by the rule gives of every configuration: weights and measures."""
    blocks = list(blocks_by_rule(swept, goal, **workers))
    found = {name: torch.cat([block.measures[name] for block in blocks]) for name in blocks[0].measures}
    return {"weights": torch.cat([block.weights for block in blocks]), **found}
