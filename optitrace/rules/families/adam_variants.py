"""Rules that change one part of Adam: AdaBelief, Yogi, ADOPT, AdEMAMix, QHAdam, Adan, MARS."""

from __future__ import annotations

from optitrace.functions import Matrix, Number, log, maximum, minimum, norm, sign, sqrt, where
from optitrace.rules.rule import StateEntry, rule

FIRST_MOMENT = StateEntry("m", "exp_avg")
SECOND_MOMENT = StateEntry("v", "exp_avg_sq")


@rule(
    FIRST_MOMENT,
    StateEntry("s", "exp_avg_var"),
    StateEntry("s_max", "max_exp_avg_var", when="amsgrad"),
    source="Zhuang et al. 2020, arXiv:2010.07468, algorithm 2; rectify: Liu et al. 2020, arXiv:1908.03265",
    departures=(
        "eps is added twice: to s, where it stays, as in the paper, and to the root of s.",
        "The authors' code rectifies by default; the paper's algorithm does not.",
        "Under rectify the step divides by s even if amsgrad keeps its maximum, and corrects no eps.",
    ),
    classes=("adabelief_pytorch.AdaBelief",),
)
def adabelief(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    s: Number,
    s_max: Number,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-16,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    weight_decouple: bool = True,
    fixed_decay: bool = False,
    rectify: bool = True,
    degenerated_to_sgd: bool = True,
) -> tuple[Number, ...]:
    """Adam that divides by the deviation of the gradient from its running mean."""
    beta1, beta2 = betas
    if weight_decay and weight_decouple:
        w = w - (weight_decay if fixed_decay else lr * weight_decay) * w
    if weight_decay and not weight_decouple:
        g = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
    if amsgrad:
        s_max = maximum(s_max, s)
    m_hat = m / (1 - beta1**t)
    if rectify:
        rho_inf = maximum(2 / (1 - beta2) - 1, 5)  # at most 5 rectifies nothing; at 4 r would divide by 0
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        rectified = r * sqrt(1 - beta2**t) / (sqrt(s) + eps)
        step = where(rho >= 5, rectified, 1.0 if degenerated_to_sgd else 0.0)
    else:
        step = 1 / (sqrt(s_max if amsgrad else s) / sqrt(1 - beta2**t) + eps)
    w = w - lr * m_hat * step
    return w, m, s, s_max


@rule(
    StateEntry("m", "exp_avg", initial="initial_accumulator"),
    StateEntry("v", "exp_avg_sq", initial="initial_accumulator"),
    source="Zaheer et al. 2018, Adaptive Methods for Nonconvex Optimization, algorithm 2",
    departures=(
        "Both moments are corrected for their bias; the paper corrects neither.",
        "m begins at initial_accumulator, as v does; in the paper it begins at 0.",
    ),
    classes=("torch_optimizer.Yogi", "pytorch_optimizer.Yogi"),
)
def yogi(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    v: Number,
    *,
    lr: float = 1e-2,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-3,
    initial_accumulator: float = 1e-6,
    weight_decay: float = 0.0,
    weight_decouple: bool = False,
    fixed_decay: bool = False,
) -> tuple[Number, ...]:
    """Adam whose second moment moves by steps of the squared gradient, up or down."""
    beta1, beta2 = betas
    if weight_decay and weight_decouple:
        w = w - (weight_decay if fixed_decay else lr * weight_decay) * w
    if weight_decay and not weight_decouple:
        g = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    v = v - (1 - beta2) * sign(v - g**2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * m_hat / (sqrt(v_hat) + eps)
    return w, m, v


@rule(
    FIRST_MOMENT,
    SECOND_MOMENT,
    source="Taniguchi et al. 2024, arXiv:2411.02853, algorithm 2",
    departures=(
        "The authors' code has the clipping value as clip_lambda, a function of the steps taken before; "
        "here it is their number to the power clip_exp, None for no clipping.",
        "Without decouple, the decay is part of the gradient; the paper has no weight decay.",
    ),
    classes=("adopt.ADOPT",),
)
def adopt(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    v: Number,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.9999),
    eps: float = 1e-6,
    clip_exp: float | None = 0.25,
    weight_decay: float = 0.0,
    decouple: bool = False,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Adam that divides each gradient by the second moment of those before it."""
    beta1, beta2 = betas
    if maximize:
        g = -g
    if weight_decay and not decouple:
        g = g + weight_decay * w
    if weight_decay and decouple:
        w = w if t == 1 else w - lr * weight_decay * w
    u = g / maximum(sqrt(v), eps)
    if clip_exp is not None:
        u = minimum(maximum(u, -((t - 1) ** clip_exp)), (t - 1) ** clip_exp)
    m = m if t == 1 else beta1 * m + (1 - beta1) * u
    w = w if t == 1 else w - lr * m
    v = g**2 if t == 1 else beta2 * v + (1 - beta2) * g**2
    return w, m, v


@rule(
    StateEntry("m1", "exp_avg_fast"),
    StateEntry("m2", "exp_avg_slow"),
    SECOND_MOMENT,
    source="Pagliardini, Ablin & Grangier 2024, arXiv:2409.03137, algorithm 1",
    departures=(
        "alpha is 2 by default; the paper recommends 5 and more.",
        "In the schedule of beta3, 1e-8 is added to each beta inside the logarithm.",
        "With beta1 = 0 the authors' code keeps no exp_avg_fast.",
    ),
)
def ademamix(
    w: Number,
    g: Number,
    t: int,
    m1: Number,
    m2: Number,
    v: Number,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
    alpha: float = 2.0,
    beta3_warmup: int | None = None,
    alpha_warmup: int | None = None,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Number, ...]:
    """Adam with a second, much slower running mean of the gradient."""
    beta1, beta2, beta3 = betas
    alpha_t = alpha if alpha_warmup is None else alpha * minimum(t / alpha_warmup, 1)
    if beta3_warmup is not None:
        half_life1 = log(0.5) / log(beta1 + 1e-8)
        half_life3 = log(0.5) / log(beta3 + 1e-8)
        half_life = (1 - t / beta3_warmup) * half_life1 + t / beta3_warmup * half_life3
        beta3_t = 0.5 ** (1 / half_life) if t < beta3_warmup else beta3
    else:
        beta3_t = beta3
    m1 = beta1 * m1 + (1 - beta1) * g
    m2 = beta3_t * m2 + (1 - beta3_t) * g
    v = beta2 * v + (1 - beta2) * g**2
    m1_hat = m1 / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * ((m1_hat + alpha_t * m2) / (sqrt(v_hat) + eps) + weight_decay * w)
    return w, m1, m2, v


@rule(
    StateEntry("n1", "beta1_weight", shape="parameter"),
    StateEntry("n2", "beta2_weight", shape="parameter"),
    FIRST_MOMENT,
    SECOND_MOMENT,
    source="Ma & Yarats 2019, arXiv:1810.06801, algorithm 2",
    departures=(
        "The moments are kept with their bias corrected, as means over the weights that n1 and n2 sum.",
        "weight_decay is part of the gradient, or of the step if decoupled; the paper has none.",
    ),
    classes=("qhoptim.pyt.QHAdam", "torch_optimizer.QHAdam"),
)
def qhadam(
    w: Number,
    g: Number,
    t: int,
    n1: Number,
    n2: Number,
    m: Number,
    v: Number,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    nus: tuple[float, float] = (1.0, 1.0),
    weight_decay: float = 0.0,
    decouple_weight_decay: bool = False,
    eps: float = 1e-8,
) -> tuple[Number, ...]:
    """Adam whose step mixes each moment with the gradient that it was updated by."""
    beta1, beta2 = betas
    nu1, nu2 = nus
    if weight_decay and decouple_weight_decay:
        w = w - lr * weight_decay * w
    if weight_decay and not decouple_weight_decay:
        g = g + weight_decay * w
    n1 = 1 + beta1 * n1
    n2 = 1 + beta2 * n2
    m = (1 - 1 / n1) * m + 1 / n1 * g
    v = (1 - 1 / n2) * v + 1 / n2 * g**2
    w = w - lr * ((1 - nu1) * g + nu1 * m) / (sqrt((1 - nu2) * g**2 + nu2 * v) + eps)
    return w, n1, n2, m, v


@rule(
    FIRST_MOMENT,
    StateEntry("d", "exp_avg_diff"),
    StateEntry("n", "exp_avg_sq"),
    StateEntry("g_neg", "neg_pre_grad"),
    source="Xie et al. 2022, arXiv:2208.06677, algorithm 1",
    departures=(
        "betas are those of Adam: 1 minus the paper's.",
        "All three moments are corrected for their bias; the paper corrects none.",
        "no_prox decays the weights as AdamW does; the paper divides them by 1 + lr * weight_decay.",
        "The authors clip the norm of all gradients together; here it is that of this parameter's.",
    ),
    classes=("timm.optim.Adan",),
)
def adan(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    d: Number,
    n: Number,
    g_neg: Number,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    max_grad_norm: float = 0.0,
    no_prox: bool = False,
) -> tuple[Number, ...]:
    """Adam with Nesterov momentum, estimated from the difference of gradients."""
    beta1, beta2, beta3 = betas
    if max_grad_norm:
        g = g * minimum(max_grad_norm / (norm(g) + eps), 1)
    change = 0 * g if t == 1 else g + g_neg
    m = beta1 * m + (1 - beta1) * g
    d = beta2 * d + (1 - beta2) * change
    n = beta3 * n + (1 - beta3) * (g + beta2 * change) ** 2
    eta = lr / (sqrt(n / (1 - beta3**t)) + eps)
    step = eta * (m / (1 - beta1**t) + beta2 * d / (1 - beta2**t))
    if no_prox:
        w = w - lr * weight_decay * w - step
    else:
        w = (w - step) / (1 + lr * weight_decay)
    g_neg = -g
    return w, m, d, n, g_neg


@rule(
    FIRST_MOMENT,
    SECOND_MOMENT,
    StateEntry("v_max", "max_exp_avg_sq", when="amsgrad"),
    StateEntry("g_prev", "last_grad"),
    source="Yuan et al. 2024, arXiv:2411.10438, algorithm 2, MARS-AdamW",
    departures=(
        "The gradient before is that of the batch before, the paper's approximation; before step 1 it is 0.",
        "The rule is that of matrices; the authors step vectors by AdamW, unless optimize_1d.",
    ),
    classes=("timm.optim.Mars",),
)
def mars(
    w: Matrix,
    g: Matrix,
    t: int,
    m: Matrix,
    v: Matrix,
    v_max: Matrix,
    g_prev: Matrix,
    *,
    lr: float = 3e-3,
    betas: tuple[float, float] = (0.95, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    gamma: float = 0.025,
) -> tuple[Number, ...]:
    """AdamW on gradients whose variance is reduced by their change since the step before."""
    beta1, beta2 = betas
    c = g + gamma * beta1 / (1 - beta1) * (g - g_prev)
    c = c / maximum(norm(c), 1)
    m = beta1 * m + (1 - beta1) * c
    v = beta2 * v + (1 - beta2) * c**2
    if amsgrad:
        v_max = maximum(v_max, v)
    m_hat = m / (1 - beta1**t)
    v_hat = (v_max if amsgrad else v) / (1 - beta2**t)
    w = w - lr * (m_hat / (sqrt(v_hat) + eps) + weight_decay * w)
    g_prev = g
    return w, m, v, v_max, g_prev
