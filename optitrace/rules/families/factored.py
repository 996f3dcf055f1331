"""Adafactor as transformers has it: for matrices, with a factored second moment, and for vectors."""

from __future__ import annotations

from optitrace.functions import Matrix, Number, column_mean, maximum, mean, minimum, row_mean, sqrt
from optitrace.rules.rule import StateEntry, rule

FIRST_MOMENT = StateEntry("m", "exp_avg", when="beta1 is not None")
CLASSES = ("transformers.Adafactor",)
DEPARTURES = (
    "beta1 keeps a running mean of the steps; the paper leaves it out.",
    "Without relative_step, lr stands in place of it; without scale_parameter, it is not scaled.",
    "warmup_init begins with relative steps of 1e-6 t.",
    "The decay is that of AdamW, by the scaled lr; the paper has none.",
)


@rule(
    FIRST_MOMENT,
    StateEntry("v_row", "exp_avg_sq_row", shape="rows"),
    StateEntry("v_col", "exp_avg_sq_col", shape="columns"),
    source="Shazeer & Stern 2018, arXiv:1804.04235, algorithm 4, for a matrix of weights",
    departures=(*DEPARTURES, "The factors are the means of rows and columns; in the paper the sums."),
    classes=CLASSES,
)
def adafactor_matrix(
    w: Matrix,
    g: Matrix,
    t: int,
    m: Matrix,
    v_row: Matrix,
    v_col: Matrix,
    *,
    lr: float | None = None,
    eps: tuple[float, float] = (1e-30, 1e-3),
    clip_threshold: float = 1.0,
    decay_rate: float = -0.8,
    beta1: float | None = None,
    weight_decay: float = 0.0,
    scale_parameter: bool = True,
    relative_step: bool = True,
    warmup_init: bool = False,
) -> tuple[Number, ...]:
    """Adafactor of transformers, for matrices: its second moment is kept as means of rows and columns."""
    eps1, eps2 = eps
    if relative_step or lr is None:
        rho = minimum(1e-6 * t if warmup_init else 1e-2, 1 / t**0.5)
    else:
        rho = lr
    alpha = maximum(eps2, sqrt(mean(w**2))) * rho if scale_parameter else rho
    beta2 = 1 - t**decay_rate
    v_row = beta2 * v_row + (1 - beta2) * row_mean(g**2 + eps1)
    v_col = beta2 * v_col + (1 - beta2) * column_mean(g**2 + eps1)
    u = g / sqrt(v_row / mean(v_row) * v_col)
    u = alpha * u / maximum(1, sqrt(mean(u**2)) / clip_threshold)
    if beta1 is not None:
        m = beta1 * m + (1 - beta1) * u
        u = m
    if weight_decay:
        w = w - weight_decay * alpha * w
    w = w - u
    return w, m, v_row, v_col


@rule(
    FIRST_MOMENT,
    StateEntry("v", "exp_avg_sq"),
    source="Shazeer & Stern 2018, arXiv:1804.04235, algorithm 5, for a vector of weights",
    departures=DEPARTURES,
    classes=CLASSES,
)
def adafactor_vector(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    v: Number,
    *,
    lr: float | None = None,
    eps: tuple[float, float] = (1e-30, 1e-3),
    clip_threshold: float = 1.0,
    decay_rate: float = -0.8,
    beta1: float | None = None,
    weight_decay: float = 0.0,
    scale_parameter: bool = True,
    relative_step: bool = True,
    warmup_init: bool = False,
) -> tuple[Number, ...]:
    """Adafactor of transformers, for vectors."""
    eps1, eps2 = eps
    if relative_step or lr is None:
        rho = minimum(1e-6 * t if warmup_init else 1e-2, 1 / t**0.5)
    else:
        rho = lr
    alpha = maximum(eps2, sqrt(mean(w**2))) * rho if scale_parameter else rho
    beta2 = 1 - t**decay_rate
    v = beta2 * v + (1 - beta2) * (g**2 + eps1)
    u = g / sqrt(v)
    u = alpha * u / maximum(1, sqrt(mean(u**2)) / clip_threshold)
    if beta1 is not None:
        m = beta1 * m + (1 - beta1) * u
        u = m
    if weight_decay:
        w = w - weight_decay * alpha * w
    w = w - u
    return w, m, v
