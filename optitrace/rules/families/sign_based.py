"""Rules in which the sign of a momentum decides: Lion, cautious AdamW."""

from __future__ import annotations

from optitrace.functions import Number, maximum, positive_share, sign, sqrt, where
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


@rule(
    StateEntry("m", "exp_avg"),
    StateEntry("v", "exp_avg_sq"),
    StateEntry("v_max", "max_exp_avg_sq", when="amsgrad"),
    source="Liang et al. 2024, arXiv:2411.16085, algorithm 2",
    departures=(
        "The kept steps are divided by the share of the weights that are kept, 1e-3 at least; the paper "
        "multiplies them by d / (number kept + 1), as pytorch_optimizer does.",
        "The sign that must agree with the gradient is that of m, which is that of the update.",
        "The weights are decayed before the step.",
    ),
    classes=("timm.optim.adamw.AdamWLegacy",),
)
def cautious_adamw(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    v: Number,
    v_max: Number,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    caution: bool = True,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """AdamW that leaves out the weights whose momentum points against the gradient."""
    beta1, beta2 = betas
    if maximize:
        g = -g
    w = w - lr * weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    if amsgrad:
        v_max = maximum(v_max, v)
    m_hat = m / (1 - beta1**t)
    v_hat = (v_max if amsgrad else v) / (1 - beta2**t)
    if caution:
        m_hat = where(m * g > 0, m_hat, 0.0) / maximum(positive_share(m * g), 1e-3)
    w = w - lr * m_hat / (sqrt(v_hat) + eps)
    return w, m, v, v_max
