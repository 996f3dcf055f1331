"""The rule that estimates its learning rate from how far the weights have gone: Prodigy."""

from __future__ import annotations

from optitrace.functions import Number, absolute, machine_epsilon, maximum, minimum, sign, sqrt, total, where
from optitrace.rules.rule import StateEntry, rule


@rule(
    StateEntry("m", "exp_avg"),
    StateEntry("v", "exp_avg_sq"),
    StateEntry("s", "s"),
    StateEntry("w0", "p0"),
    StateEntry("d", "d", initial="d0", shape="group"),
    StateEntry("d_max", "d_max", initial="d0", shape="group"),
    StateEntry("r", "d_numerator", shape="group"),
    StateEntry("k", "k", shape="group"),
    source="Mishchenko & Defazio 2024, arXiv:2306.06101, algorithm 4",
    departures=(
        "d is estimated from all parameters together; here from this one.",
        "r and s are divided by d0, which leaves their ratio as it is.",
        "d_coef, growth_rate, safeguard_warmup and the bias correction are the authors' additions.",
        "While no gradient has been other than zero, nothing moves and k does not count.",
        "With betas[0] = 0 the gradient times the new d takes the place of m.",
        "The authors' code keeps one 0 for weights that are all zero in p0.",
    ),
    classes=("prodigyopt.Prodigy",),
)
def prodigy(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    v: Number,
    s: Number,
    w0: Number,
    d: Number,
    d_max: Number,
    r: Number,
    k: Number,
    *,
    lr: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    beta3: float | None = None,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decouple: bool = True,
    use_bias_correction: bool = False,
    safeguard_warmup: bool = False,
    d0: float = 1e-6,
    d_coef: float = 1.0,
    growth_rate: float = float("inf"),
) -> tuple[Number, ...]:
    """Adam that estimates the distance to the solution, and so needs no learning rate."""
    beta1, beta2 = betas
    rho = sqrt(beta2) if beta3 is None else beta3
    if weight_decay and not decouple:
        g = g + weight_decay * w
    w0 = w if t == 1 else w0
    gamma = d * lr
    if use_bias_correction:
        gamma = gamma * sqrt(1 - beta2 ** (k + 1)) / (1 - beta1 ** (k + 1))
    r = rho * r + d / d0 * gamma * total(g * (w0 - w))
    m = beta1 * m + d * (1 - beta1) * g
    v = beta2 * v + d**2 * (1 - beta2) * g**2
    s = rho * s + d / d0 * (d if safeguard_warmup else gamma) * g
    size = total(absolute(s))
    d_hat = where(size > 0, d_coef * r / size, d)
    d = where(d <= d0 * (1 + machine_epsilon(w)), maximum(d, d_hat), d)  # as long as it is d0, rounded
    d_max = maximum(d_max, d_hat)
    d = minimum(d_max, d * growth_rate)
    moves = sign(size)
    if weight_decay and decouple:
        w = w - moves * weight_decay * gamma * w
    if beta1:
        step = m
    else:
        step = d * g
    w = w - gamma * step / (sqrt(v) + d * eps)
    k = k + moves
    return w, m, v, s, w0, d, d_max, r, k
