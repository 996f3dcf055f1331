"""Rules whose step does not lengthen weights of which only the direction matters: AdamP, SGDP.

Such are the weights in front of a normalization. They are told by a gradient at right angles to them: what
of the step lies along them is then taken out.
"""

from __future__ import annotations

from optitrace.functions import (
    Matrix,
    Number,
    absolute,
    columns,
    largest,
    maximum,
    norm,
    row_total,
    rows,
    sqrt,
    total,
    where,
)
from optitrace.rules.rule import StateEntry, rule

TESTED = (
    "The test is made for each row, then for the whole matrix.",
    "The rule is that of matrices; the authors do not project the step of a vector, as with delta = 0.",
    "eps is added to the norm of the weights that are projected out.",
)


@rule(
    StateEntry("m", "exp_avg"),
    StateEntry("v", "exp_avg_sq"),
    source="Heo et al. 2021, arXiv:2006.08217, algorithm 3",
    departures=(*TESTED,),
    classes=("adamp.AdamP", "timm.optim.AdamP"),
)
def adamp(
    w: Matrix,
    g: Matrix,
    t: int,
    m: Matrix,
    v: Matrix,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    delta: float = 0.1,
    wd_ratio: float = 0.1,
    nesterov: bool = False,
) -> tuple[Number, ...]:
    """Adam whose step does not lengthen weights of which only the direction matters."""
    beta1, beta2 = betas
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_bar = beta1 * m + (1 - beta1) * g if nesterov else m
    step = m_bar / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)
    decay = lr * weight_decay * w
    row_norm = sqrt(row_total(w**2))
    row_cos = absolute(row_total(w * g)) / (maximum(row_norm, eps) * maximum(sqrt(row_total(g**2)), eps))
    cos = absolute(total(w * g)) / (maximum(norm(w), eps) * maximum(norm(g), eps))
    row_n = w / (row_norm + eps)
    n = w / (norm(w) + eps)
    row_bound = delta / sqrt(columns(w))
    bound = delta / sqrt(rows(w) * columns(w))
    across = where(cos < bound, step - n * total(n * step), step)
    step = where(largest(row_cos) < row_bound, step - row_n * row_total(row_n * step), across)
    less = where(cos < bound, wd_ratio * decay, decay)
    decay = where(largest(row_cos) < row_bound, wd_ratio * decay, less)
    w = w - decay - lr * step
    return w, m, v


@rule(
    StateEntry("b", "momentum"),
    source="Heo et al. 2021, arXiv:2006.08217, algorithm 2",
    departures=(
        *TESTED,
        "The decay is divided by (1 - momentum), the sum of the steps that a gradient makes.",
        "Without nesterov, the authors' code (adamp.SGDP) projects the momentum that it keeps, too.",
    ),
    classes=("timm.optim.SGDP", "pytorch_optimizer.SGDP"),
)
def sgdp(
    w: Matrix,
    g: Matrix,
    t: int,
    b: Matrix,
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    eps: float = 1e-8,
    delta: float = 0.1,
    wd_ratio: float = 0.1,
) -> tuple[Number, ...]:
    """SGD whose step does not lengthen weights of which only the direction matters."""
    b = momentum * b + (1 - dampening) * g
    step = g + momentum * b if nesterov else b
    decay = lr * weight_decay / (1 - momentum) * w
    row_norm = sqrt(row_total(w**2))
    row_cos = absolute(row_total(w * g)) / (maximum(row_norm, eps) * maximum(sqrt(row_total(g**2)), eps))
    cos = absolute(total(w * g)) / (maximum(norm(w), eps) * maximum(norm(g), eps))
    row_n = w / (row_norm + eps)
    n = w / (norm(w) + eps)
    row_bound = delta / sqrt(columns(w))
    bound = delta / sqrt(rows(w) * columns(w))
    across = where(cos < bound, step - n * total(n * step), step)
    step = where(largest(row_cos) < row_bound, step - row_n * row_total(row_n * step), across)
    less = where(cos < bound, wd_ratio * decay, decay)
    decay = where(largest(row_cos) < row_bound, wd_ratio * decay, less)
    w = w - decay - lr * step
    return w, b
