"""Rules that step by the sign of a momentum: Lion."""

from __future__ import annotations

from optitrace.functions import Number, sign
from optitrace.rules.rule import StateEntry, rule


@rule(
    StateEntry("m", "exp_avg"),
    source="Chen et al. 2023, arXiv:2302.06675, algorithm 2",
    classes=("lion_pytorch.Lion", "timm.optim.Lion", "pytorch_optimizer.Lion"),
)
def lion(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> tuple[Number, ...]:
    """The sign of a momentum that was found by program search."""
    beta1, beta2 = betas
    c = beta1 * m + (1 - beta1) * g
    w = w - lr * (sign(c) + weight_decay * w)
    m = beta2 * m + (1 - beta2) * g
    return w, m
