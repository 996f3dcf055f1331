"""The rule that runs Adam in the eigenvectors of Shampoo's preconditioners: SOAP."""

from __future__ import annotations

from optitrace.functions import (
    Matrix,
    Number,
    diagonal,
    eigenvectors,
    is_multiple,
    mean,
    orthonormal,
    sort_columns,
    sqrt,
    transpose,
)
from optitrace.rules.hyperparameter import Detail
from optitrace.rules.rule import StateEntry, rule


@rule(
    StateEntry("m", "exp_avg"),
    StateEntry("v", "exp_avg_sq"),
    StateEntry("l", "GG.0", shape="rows x rows"),
    StateEntry("r", "GG.1", shape="columns x columns"),
    StateEntry("q_l", "Q.0", shape="rows x rows"),
    StateEntry("q_r", "Q.1", shape="columns x columns"),
    source="Vyas et al. 2024, arXiv:2409.11321, algorithm 3",
    departures=(
        "Step 1 only sets l, r and their bases, so that no gradient is projected by a base that it made.",
        "The bias correction counts from step 2.",
        "Where the bases are renewed, their columns and v are first ordered by falling eigenvalues.",
        "The decay follows the step and sees the weights that it made.",
        "The authors' newer code keeps exp_avg in the bases, and computes the bases in float32.",
    ),
    classes=("pytorch_optimizer.SOAP",),
    details={"precondition_frequency": Detail(minimum=1)},
)
def soap(
    w: Matrix,
    g: Matrix,
    t: int,
    m: Matrix,
    v: Matrix,
    l: Matrix,  # noqa: E741
    r: Matrix,
    q_l: Matrix,
    q_r: Matrix,
    *,
    lr: float = 3e-3,
    betas: tuple[float, float] = (0.95, 0.95),
    shampoo_beta: float | None = None,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    precondition_frequency: int = 10,
    normalize_gradient: bool = False,
    correct_bias: bool = True,
) -> tuple[Number, ...]:
    """Adam in the eigenvectors of Shampoo's two preconditioners."""
    beta1, beta2 = betas
    if shampoo_beta is None:
        shampoo_beta = beta2
    if t > 1:
        g_rotated = transpose(q_l) @ g @ q_r
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g_rotated**2
        m_rotated = transpose(q_l) @ m @ q_r
        step = q_l @ (m_rotated / (sqrt(v) + eps)) @ transpose(q_r)
        if normalize_gradient:
            step = step / (sqrt(mean(step**2)) + eps)
        if correct_bias:
            step = sqrt(1 - beta2 ** (t - 1)) / (1 - beta1 ** (t - 1)) * step
        w = w - lr * step
        w = w - lr * weight_decay * w
    l = shampoo_beta * l + (1 - shampoo_beta) * (g @ transpose(g))  # noqa: E741
    r = shampoo_beta * r + (1 - shampoo_beta) * (transpose(g) @ g)
    if t == 1:
        q_l = eigenvectors(l)
        q_r = eigenvectors(r)
    elif is_multiple(t - 1, precondition_frequency):
        by_row = diagonal(transpose(q_l) @ l @ q_l)
        by_column = diagonal(transpose(q_r) @ r @ q_r)
        v = transpose(sort_columns(transpose(v), by_row))
        v = sort_columns(v, by_column)
        q_l = orthonormal(sort_columns(l @ q_l, by_row))
        q_r = orthonormal(sort_columns(r @ q_r, by_column))
    return w, m, v, l, r, q_l, q_r
