"""The settings, weights and gradients under which a wrong rule cannot pass for a right one.

At default hyperparameters most mistakes change nothing that can be seen: a weight decay that is zero
may stand anywhere, an eps of 1e-8 may stand inside the root or outside. The settings here together
take every branch of every rule both ways, and show every mistake in `optitrace.rules.mistakes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

STEPS = 50
"""How many steps are taken: enough to pass RAdam's warm-up and every t0 and clamp below."""

_DECAY = {"weight_decay": 0.1, "maximize": True}
"""Weight decay has its own sign, which `maximize` must not turn."""

_ADAM: dict[str, Any] = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-2}
"""A large eps shows where it stands; betas far from 1 show whose bias is corrected, and how."""

TELLING: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    # dampening spares the first momentum_buffer; nesterov needs dampening 0
    "sgd": (
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, **_DECAY},
        {"lr": 0.1, **_DECAY},
    ),
    # t0 within the run starts the averaging; a large lambd makes eta and mu fall at once
    "asgd": (
        {"lr": 0.1},
        {"lr": 0.1, "lambd": 0.5, "alpha": 0.6, "t0": 10.0, **_DECAY},
        {"lr": 0.2, "lambd": 0.1, "t0": 0.0},
    ),
    # both clamps within reach, at step 1 as well
    "rprop": (
        {"lr": 0.1},
        {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.02, 0.3), "maximize": True},
        {"lr": 1.0, "etas": (0.6, 1.1), "step_sizes": (1e-3, 0.5)},
        {"lr": 1e-4, "step_sizes": (1e-2, 0.5)},
    ),
    # amsgrad at a large lr; each kind of weight decay with and without maximize
    "adam": (
        {"lr": 0.1},
        {**_ADAM, **_DECAY},
        {**_ADAM, "amsgrad": True, "weight_decay": 0.1},
        {**_ADAM, "amsgrad": True, "decoupled_weight_decay": True, **_DECAY},
    ),
    "adamw": (
        {"lr": 0.1},
        {**_ADAM, **_DECAY},
        {**_ADAM, "amsgrad": True, "weight_decay": 0.0},
    ),
    "adamax": ({"lr": 0.1}, _ADAM, {**_ADAM, **_DECAY}),
    # a large momentum_decay moves mu over its whole range within the run
    "nadam": (
        {"lr": 0.1},
        {**_ADAM, "momentum_decay": 0.5, **_DECAY},
        {**_ADAM, "momentum_decay": 0.1, "decoupled_weight_decay": True, **_DECAY},
    ),
    # the default beta2 passes rho = 4 and rho = 5 at different steps; 0.6 never rectifies
    "radam": (
        {"lr": 0.1},
        {**_ADAM, **_DECAY},
        {**_ADAM, "decoupled_weight_decay": True, **_DECAY},
        {"lr": 0.1, "betas": (0.9, 0.6)},
    ),
    # the gradient below is exactly zero in one weight in five
    "sparseadam": ({"lr": 0.1}, _ADAM, {**_ADAM, "maximize": True}),
    # lr_decay counts from step 2; the sum starts above zero
    "adagrad": (
        {"lr": 0.1},
        {"lr": 0.1, "lr_decay": 0.5, "initial_accumulator_value": 0.3, "eps": 1e-2, **_DECAY},
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1},
    ),
    # every pair of centered and momentum
    "rmsprop": (
        {"lr": 0.1},
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-2, "centered": True, **_DECAY},
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-2, "momentum": 0.8, "weight_decay": 0.1},
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-2, "momentum": 0.8, "centered": True, **_DECAY},
    ),
    # an lr that is not 1 shows what it multiplies
    "adadelta": (
        {"lr": 1.0},
        {"lr": 0.5, "rho": 0.8, "eps": 1e-2, **_DECAY},
        {"lr": 0.5, "weight_decay": 0.1},
    ),
    # an lr above t^(-1/2) is capped; eps1 and eps2 are large enough to be the greater number
    "adafactor": (
        {"lr": 0.1},
        {"lr": 0.5, "eps": (2.0, 1e-3), "d": 1.5, **_DECAY},
        {"lr": 0.3, "eps": (1e-3, 3.0), "beta2_decay": -0.5, "weight_decay": 0.1},
    ),
    # an eps that is the greater number; an odd number of iterations and none
    "muon": (
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.8, "nesterov": False, "weight_decay": 0.0},
        {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw", "ns_coefficients": (3.4, -4.7, 2.0), "ns_steps": 3},
        {"lr": 0.1, "adjust_lr_fn": "original", "momentum": 0.5, "eps": 2.3, "ns_steps": 1},
    ),
}
"""Hyperparameters by optimizer: what is not named has the default."""

VECTOR = (4,)
"""The shape of the weights where a rule takes a vector."""

SHAPES: Mapping[str, tuple[tuple[int, ...], ...]] = {"muon": ((1, 4), (4, 1), (2, 3), (3, 2))}
"""The shapes of the weights where a rule takes a matrix: a row, a column, a wide one and a tall one."""


def start(size: int) -> list[float]:
    """Return `size` weights of both signs and of different sizes."""
    return [2.0 * math.cos(2.4 * i) for i in range(size)]


def gradient(step: int, size: int) -> list[float]:
    """Return the gradient of a step, the same for every rule.

    It belongs to a loss that is linear in the weights, with coefficients that change from step to
    step: in sign, slowly for one weight and quickly for another; in scale, by a factor of a hundred;
    and one weight in five has none. As it does not depend on the weights, no error feeds on itself.
    """
    scale = 10.0 ** math.sin(0.3 * step)
    return [0.0 if (step + i) % 5 == 0 else scale * math.cos((0.1 + 0.7 * i) * step + i) for i in range(size)]
