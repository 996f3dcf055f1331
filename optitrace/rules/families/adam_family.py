"""Rules that scale a running mean of the gradient by a running size of it: Adam and its kin."""

from __future__ import annotations

from optitrace.functions import Number, absolute, maximum, sqrt, where
from optitrace.rules.hyperparameter import Detail
from optitrace.rules.mistakes import add_mistakes
from optitrace.rules.rule import StateEntry, TorchClass, rule, variant

FIRST_MOMENT = StateEntry("m", "exp_avg")
SECOND_MOMENT = StateEntry("v", "exp_avg_sq")


@rule(
    FIRST_MOMENT,
    SECOND_MOMENT,
    StateEntry("v_max", "max_exp_avg_sq", when="amsgrad"),
    torch=TorchClass("Adam", implementations=("single", "foreach", "fused")),
    source="Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; amsgrad: Reddi et al. 2018, arXiv:1904.09237",
    departures=(
        "amsgrad takes the maximum of the uncorrected v and then corrects its bias; "
        "the paper corrects no bias.",
    ),
)
def adam(
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
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> tuple[Number, ...]:
    """Adaptive moment estimation."""
    beta1, beta2 = betas
    if maximize:
        g = -g
    if weight_decay and decoupled_weight_decay:
        w = w - lr * weight_decay * w
    if weight_decay and not decoupled_weight_decay:
        g = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    if amsgrad:
        v_max = maximum(v_max, v)
    m_hat = m / (1 - beta1**t)
    v_hat = (v_max if amsgrad else v) / (1 - beta2**t)
    w = w - lr * m_hat / (sqrt(v_hat) + eps)
    return w, m, v, v_max


adamw = variant(
    adam,
    "adamw",
    "Adam with decoupled weight decay",
    torch=TorchClass("AdamW", implementations=("single", "foreach", "fused")),
    source="Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2",
    fixed={"decoupled_weight_decay": True},
    defaults={"weight_decay": 1e-2},
    details={"weight_decay": Detail("Decoupled weight decay.")},
)


@rule(
    FIRST_MOMENT,
    StateEntry("u", "exp_inf"),
    torch=TorchClass("Adamax"),
    source="Kingma & Ba 2015, arXiv:1412.6980, algorithm 2",
    departures=("torch adds eps to |g| inside the maximum; the paper has no eps.",),
)
def adamax(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    u: Number,
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Adam with the infinity norm in place of the second moment."""
    beta1, beta2 = betas
    if maximize:
        g = -g
    if weight_decay:
        g = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    u = maximum(beta2 * u, absolute(g) + eps)
    w = w - lr / (1 - beta1**t) * m / u
    return w, m, u


@rule(
    FIRST_MOMENT,
    SECOND_MOMENT,
    StateEntry("mu_product", "mu_product", initial=1.0, shape="parameter"),
    torch=TorchClass("NAdam"),
    source="Dozat 2016, with the schedule of mu from its section 3",
    departures=(
        "The paper's exponent t / 250 is t * momentum_decay, 0.004 by default.",
        "torch keeps mu_product in the default dtype, float32, even for float64 weights.",
    ),
)
def nadam(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    v: Number,
    mu_product: Number,
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Adam with Nesterov momentum."""
    beta1, beta2 = betas
    if maximize:
        g = -g
    if weight_decay and decoupled_weight_decay:
        w = w - lr * weight_decay * w
    if weight_decay and not decoupled_weight_decay:
        g = g + weight_decay * w
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    mu_product = mu_product * mu
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = mu_next * m / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)
    v_hat = v / (1 - beta2**t)
    w = w - lr * m_hat / (sqrt(v_hat) + eps)
    return w, m, v, mu_product


@rule(
    FIRST_MOMENT,
    SECOND_MOMENT,
    torch=TorchClass("RAdam"),
    source="Liu et al. 2020, arXiv:1908.03265, algorithm 2",
    departures=(
        "torch rectifies from rho > 5 on; the paper from rho > 4.",
        "torch adds eps to the square root of v, before its bias correction; the paper has no eps.",
    ),
)
def radam(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    v: Number,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Adam whose adaptive step waits until its variance is tractable."""
    beta1, beta2 = betas
    if maximize:
        g = -g
    if weight_decay and decoupled_weight_decay:
        w = w - lr * weight_decay * w
    if weight_decay and not decoupled_weight_decay:
        g = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    rho_inf = maximum(2 / (1 - beta2) - 1, 5)  # at most 5: nothing is rectified, and at 4 r would divide by 0
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    step = where(rho > 5, r * sqrt(1 - beta2**t) / (sqrt(v) + eps), 1.0)
    w = w - lr * m_hat * step
    return w, m, v


@rule(
    FIRST_MOMENT,
    SECOND_MOMENT,
    torch=TorchClass("SparseAdam", implementations=("single",), needs="sparse gradient"),
    source="Kingma & Ba 2015, arXiv:1412.6980, the efficient order at the end of section 2",
    departures=("A weight whose gradient is exactly zero keeps its value and its moments.",),
)
def sparseadam(
    w: Number,
    g: Number,
    t: int,
    m: Number,
    v: Number,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Adam for sparse gradients: updates only weights with a gradient."""
    beta1, beta2 = betas
    if maximize:
        g = -g
    m = where(g != 0, beta1 * m + (1 - beta1) * g, m)
    v = where(g != 0, beta2 * v + (1 - beta2) * g**2, v)
    lr_t = lr * sqrt(1 - beta2**t) / (1 - beta1**t)
    w = where(g != 0, w - lr_t * m / (sqrt(v) + eps), w)
    return w, m, v


_OVERWRITTEN = {
    "amsgrad overwrites exp_avg_sq by its maximum": {
        "v_max = maximum(v_max, v)": "v_max = maximum(v_max, v); v = v_max"
    },
}

add_mistakes(adam, _OVERWRITTEN)
add_mistakes(adamw, _OVERWRITTEN)

_U = "u = maximum(beta2 * u, absolute(g) + eps)"

add_mistakes(
    adamax,
    {
        "eps is added to exp_inf itself, not to the gradient's size": {
            _U: "u = maximum(beta2 * u, absolute(g)) + eps"
        },
        "eps is added to exp_inf only where it divides": {
            _U: "u = maximum(beta2 * u, absolute(g))",
            "lr / (1 - beta1**t) * m / u": "lr / (1 - beta1**t) * m / (u + eps)",
        },
        "exp_inf is a running mean": {_U: "u = beta2 * u + (1 - beta2) * (absolute(g) + eps)"},
    },
)

_MU = "mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))"
_MU_NEXT = "mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))"
_M_HAT = "m_hat = mu_next * m / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)"

add_mistakes(
    nadam,
    {
        "momentum does not look ahead, as in adam": {_M_HAT: "m_hat = m / (1 - beta1**t)"},
        "mu does not follow a schedule": {_MU: "mu = beta1", _MU_NEXT: "mu_next = beta1"},
        "momentum_decay is left out of the schedule of mu": {
            "t * momentum_decay": "t",
            "(t + 1) * momentum_decay": "t + 1",
        },
        "the schedule of mu begins at 0": {
            "t * momentum_decay": "(t - 1) * momentum_decay",
            "(t + 1) * momentum_decay": "t * momentum_decay",
        },
        "the bias of exp_avg is corrected by powers of beta1, not by the product of mu": {
            _M_HAT: "m_hat = mu_next * m / (1 - beta1**(t + 1)) + (1 - mu) * g / (1 - beta1**t)"
        },
        "exp_avg is averaged with mu instead of beta1": {
            "m = beta1 * m + (1 - beta1) * g": "m = mu * m + (1 - mu) * g"
        },
    },
)

_ADAPTIVE = "sqrt(1 - beta2**t) / (sqrt(v) + eps)"

add_mistakes(
    radam,
    {
        "the warm-up divides by exp_avg_sq as well": {
            f"where(rho > 5, r * {_ADAPTIVE}, 1.0)": f"where(rho > 5, r, 1.0) * {_ADAPTIVE}"
        },
        "the warm-up takes no step": {"1.0": "0.0"},
    },
)

add_mistakes(
    sparseadam,
    {
        "the moments decay where there is no gradient": {
            "m = where(g != 0, beta1 * m + (1 - beta1) * g, m)": "m = beta1 * m + (1 - beta1) * g",
            "v = where(g != 0, beta2 * v + (1 - beta2) * g**2, v)": "v = beta2 * v + (1 - beta2) * g**2",
        }
    },
)
