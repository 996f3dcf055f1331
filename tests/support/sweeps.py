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

BEYOND: Mapping[str, Sequence[str]] = {
    "adan": ("lr=0.001,0.1", "betas.1=0.5,0.9", "max_grad_norm=0,0.5,1", "no_prox=true,false"),
    "mars": ("lr=0.001,0.1", "betas.0=0.5,0.95", "gamma=0,0.025,0.5", "amsgrad=true,false"),
    "lars": (
        "lr=0.01,0.1",
        "weight_decay=0,0.1",
        "momentum=0,0.5",
        "trust_coeff=0.1,0.5",
        "trust_clip=true,false",
        "always_adapt=true,false",
    ),
    "lamb": (
        "lr=0.001,0.1",
        "weight_decay=0,0.1",
        "max_grad_norm=none,0.5,1",
        "trust_clip=true,false",
        "always_adapt=true,false",
    ),
    "adamp": (
        "lr=0.01,0.1",
        "weight_decay=0,0.1",
        "delta=0,0.1,10",
        "wd_ratio=0.1,0.5",
        "nesterov=true,false",
    ),
    "sgdp": ("lr=0.01,0.1", "weight_decay=0,0.1", "delta=0,0.1,10", "momentum=0,0.5", "nesterov=true,false"),
    "adafactor_matrix": (
        "beta1=none,0,0.5",
        "decay_rate=-0.8,-0.5",
        "clip_threshold=0.5,1",
        "weight_decay=0,0.1",
    ),
    "adafactor_vector": (
        "beta1=none,0,0.5",
        "decay_rate=-0.8,-0.5",
        "warmup_init=true,false",
        "eps.1=0.001,0.1",
    ),
    "muon_jordan": ("lr=0.01,0.1", "momentum=0.5,0.95", "ns_steps=1:3:3", "weight_decay=0,0.1"),
    "muon_moonlight": ("lr=0.01,0.1", "momentum=0.5,0.95", "nesterov=true,false", "weight_decay=0,0.1"),
    "soap": ("lr=0.01,0.1", "betas.0=0.5,0.9", "precondition_frequency=1,5", "correct_bias=true,false"),
    "prodigy": (
        "d0=log:0.001:0.1:3",
        "growth_rate=1.02,2",
        "weight_decay=0,0.1",
        "betas.0=0,0.9",
        "use_bias_correction=true,false",
    ),
    "cautious_adamw": ("lr=0.1,0.3", "betas.0=0.9,0.99", "weight_decay=0,0.1", "caution=true,false"),
}
"""The same of rules that torch has no class of, and that look across the weights of a parameter."""

STEPS = 12


def space(
    optimizer: str, axes: Sequence[str] | None = None, samples: int | None = None, **settings: Any
) -> Space:
    """Return a space of an optimizer: its grid if no axes are given."""
    base = design(optimizer, steps=settings.pop("steps", STEPS), **settings)
    return lay_out(base, {**GRIDS, **BEYOND}[optimizer] if axes is None else axes, samples=samples, seed=7)


def everything(swept: Space, goal: Goal = USUAL_GOAL, **workers: Any) -> dict[str, torch.Tensor]:
    """Return what a sweep by the rule gives of every configuration: weights and measures."""
    blocks = list(blocks_by_rule(swept, goal, **workers))
    found = {name: torch.cat([block.measures[name] for block in blocks]) for name in blocks[0].measures}
    return {"weights": torch.cat([block.weights for block in blocks]), **found}
