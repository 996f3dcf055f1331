"""The rule that turns a matrix of momentum into its nearest orthogonal one: Muon."""

from __future__ import annotations

from typing import Literal

from optitrace.functions import (
    Matrix,
    Number,
    bfloat16,
    columns,
    float32,
    maximum,
    norm,
    rows,
    sqrt,
    transpose,
)
from optitrace.rules.rule import StateEntry, rule


@rule(
    StateEntry("m", "momentum_buffer"),
    source="Jordan et al. 2024, kellerjordan.github.io/posts/muon",
    departures=(
        "The momentum is a running mean, with the factor (1 - momentum); Jordan et al. add the gradient.",
        "weight_decay and adjust_lr_fn are those of Liu et al. 2025, arXiv:2502.16982.",
        "The orthogonalization is computed in bfloat16, whatever the dtype of the weights.",
    ),
)
def muon(
    w: Matrix,
    g: Matrix,
    t: int,
    m: Matrix,
    *,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
) -> tuple[Number, ...]:
    """Momentum made orthogonal by Newton-Schulz iterations, for matrices."""
    a, b, c = float32(ns_coefficients)
    m = momentum * m + (1 - momentum) * g
    x = bfloat16(momentum * m + (1 - momentum) * g if nesterov else m)
    if rows(w) > columns(w):
        x = transpose(x)
    x = bfloat16(x / bfloat16(maximum(norm(x), eps)))
    for _ in range(ns_steps):
        gram = bfloat16(x @ transpose(x))
        update = bfloat16(b * gram + c * gram @ gram)
        x = bfloat16(a * x + update @ x)
    if rows(w) > columns(w):
        x = transpose(x)
    if adjust_lr_fn == "match_rms_adamw":
        ratio = 0.2 * sqrt(maximum(rows(w), columns(w)))
    else:
        ratio = sqrt(maximum(1, rows(w) / columns(w)))
    if weight_decay:
        w = w - lr * weight_decay * w
    w = w - lr * ratio * x
    return w, m
