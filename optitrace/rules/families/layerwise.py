"""Rules that scale the step of each parameter by the norms of its weights and its gradient: LARS, LAMB."""

from __future__ import annotations

from optitrace.functions import Number, maximum, minimum, norm, sqrt, where
from optitrace.rules.rule import StateEntry, rule


@rule(
    StateEntry("b", "momentum_buffer", when="momentum"),
    source="You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1",
    departures=(
        "As in timm: lr multiplies the momentum; in the paper it is inside the momentum.",
        "Without weight_decay nothing is scaled, unless always_adapt; the paper always scales.",
        "Where the weights or the gradient are all zero, the ratio is 1.",
        "trust_clip makes lr the most that a step is scaled by (LARC).",
    ),
    classes=("timm.optim.Lars",),
)
def lars(
    w: Number,
    g: Number,
    t: int,
    b: Number,
    *,
    lr: float = 1.0,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    trust_coeff: float = 1e-3,
    eps: float = 1e-8,
    trust_clip: bool = False,
    always_adapt: bool = False,
) -> tuple[Number, ...]:
    """SGD with a learning rate for each layer, from the norm of its weights over that of its gradient."""
    if weight_decay or always_adapt:
        ratio = trust_coeff * norm(w) / (norm(g) + weight_decay * norm(w) + eps)
        ratio = where(norm(w) * norm(g) > 0, ratio, 1.0)
        if trust_clip:
            ratio = minimum(ratio / lr, 1)
        g = ratio * (g + weight_decay * w)
    if momentum:
        b = g if t == 1 else momentum * b + (1 - dampening) * g
        g = g + momentum * b if nesterov else b
    w = w - lr * g
    return w, b


@rule(
    StateEntry("m", "exp_avg"),
    StateEntry("v", "exp_avg_sq"),
    source="You et al. 2020, arXiv:1904.00962, algorithm 2",
    departures=(
        "As in timm and NVIDIA's FusedLAMB: the gradients are first scaled to a norm of at most "
        "max_grad_norm; there it is that of all gradients, here of this parameter's.",
        "Without weight_decay nothing is scaled, unless always_adapt; the paper always scales.",
        "Where the weights or the step are all zero, the ratio is 1.",
        "trust_clip makes 1 the largest ratio (LAMBC).",
    ),
    classes=("timm.optim.Lamb",),
)
def lamb(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    v: Number,
    *,
    lr: float = 1e-3,
    bias_correction: bool = True,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.01,
    grad_averaging: bool = True,
    max_grad_norm: float | None = 1.0,
    trust_clip: bool = False,
    always_adapt: bool = False,
    decoupled_decay: bool = False,
) -> tuple[Number, ...]:
    """Adam with a learning rate for each layer, from the norm of its weights over that of its step."""
    beta1, beta2 = betas
    if max_grad_norm is not None:
        g = g / maximum(norm(g) / max_grad_norm, 1)
    m = beta1 * m + (1 - beta1 if grad_averaging else 1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t) if bias_correction else m
    v_hat = v / (1 - beta2**t) if bias_correction else v
    r = m_hat / (sqrt(v_hat) + eps)
    if weight_decay and decoupled_decay:
        w = w - lr * weight_decay * w
    if weight_decay and not decoupled_decay:
        r = r + weight_decay * w
    if weight_decay or always_adapt:
        ratio = where(norm(w) * norm(r) > 0, norm(w) / norm(r), 1.0)
        if trust_clip:
            ratio = minimum(ratio, 1)
        r = ratio * r
    w = w - lr * r
    return w, m, v
