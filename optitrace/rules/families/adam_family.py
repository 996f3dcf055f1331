"""Rules that scale a running mean of the gradient by a running size of it: Adam and its kin."""

from __future__ import annotations

from typing import Any

from optitrace.functions import Number, absolute, maximum, sqrt, where
from optitrace.rules.discriminating_cases import DECAY_AND_MAXIMIZE
from optitrace.rules.hyperparameter import Detail
from optitrace.rules.mistakes import COUPLED, MOMENTS, NO_MAXIMIZE, PENALTY, add_mistakes, decoupled
from optitrace.rules.rule import StateEntry, TorchClass, rule, variant

_TELLING: dict[str, Any] = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-2}
"""A large eps shows where it stands; betas far from 1 show whose bias is corrected, and how."""

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
    # amsgrad at a large lr; each kind of weight decay with and without maximize
    cases=(
        {"lr": 0.1},
        {**_TELLING, **DECAY_AND_MAXIMIZE},
        {**_TELLING, "amsgrad": True, "weight_decay": 0.1},
        {**_TELLING, "amsgrad": True, "decoupled_weight_decay": True, **DECAY_AND_MAXIMIZE},
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
    cases=(
        {"lr": 0.1},
        {**_TELLING, **DECAY_AND_MAXIMIZE},
        {**_TELLING, "amsgrad": True, "weight_decay": 0.0},
    ),
)


@rule(
    FIRST_MOMENT,
    StateEntry("u", "exp_inf"),
    torch=TorchClass("Adamax"),
    source="Kingma & Ba 2015, arXiv:1412.6980, algorithm 2",
    departures=("torch adds eps to |g| inside the maximum; the paper has no eps.",),
    cases=({"lr": 0.1}, _TELLING, {**_TELLING, **DECAY_AND_MAXIMIZE}),
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
    StateEntry("mu_product", "mu_product", initial=1.0, scalar=True),
    torch=TorchClass("NAdam"),
    source="Dozat 2016, with the schedule of mu from its section 3",
    departures=(
        "The paper's exponent t / 250 is t * momentum_decay, 0.004 by default.",
        "torch keeps mu_product in the default dtype, float32, even for float64 weights.",
    ),
    # a large momentum_decay moves mu over its whole range within the run
    cases=(
        {"lr": 0.1},
        {**_TELLING, "momentum_decay": 0.5, **DECAY_AND_MAXIMIZE},
        {**_TELLING, "momentum_decay": 0.1, "decoupled_weight_decay": True, **DECAY_AND_MAXIMIZE},
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
    # the default beta2 passes rho = 4 and rho = 5 at different steps; 0.6 never rectifies
    cases=(
        {"lr": 0.1},
        {**_TELLING, **DECAY_AND_MAXIMIZE},
        {**_TELLING, "decoupled_weight_decay": True, **DECAY_AND_MAXIMIZE},
        {"lr": 0.1, "betas": (0.9, 0.6)},
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
    # the gradient below is exactly zero in one weight in five
    cases=({"lr": 0.1}, _TELLING, {**_TELLING, "maximize": True}),
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


_NO_M_CORRECTION = {
    "the bias of exp_avg is not corrected": {"m / (1 - beta1**t)": "m"},
}
_ROOT_OF_V = {
    "eps is inside the square root": {"sqrt(v_hat) + eps": "sqrt(v_hat + eps)"},
    "eps is left out": {"sqrt(v_hat) + eps": "sqrt(v_hat)"},
    "eps is added before the bias of exp_avg_sq is corrected": {
        "sqrt(v_hat) + eps": "sqrt(v_hat) + eps / sqrt(1 - beta2**t)"
    },
    "the square root of exp_avg_sq is left out": {"sqrt(v_hat) + eps": "v_hat + eps"},
}
_V_HAT = "v_hat = (v_max if amsgrad else v) / (1 - beta2**t)"

_ADAM_BODY = {
    **NO_MAXIMIZE,
    **MOMENTS,
    "no bias is corrected": {"m / (1 - beta1**t)": "m", _V_HAT: "v_hat = v_max if amsgrad else v"},
    **_NO_M_CORRECTION,
    "the bias of exp_avg_sq is not corrected": {_V_HAT: "v_hat = v_max if amsgrad else v"},
    "the bias corrections are one step ahead": {"beta1**t": "beta1**(t + 1)", "beta2**t": "beta2**(t + 1)"},
    **_ROOT_OF_V,
    "the step has the gradient itself in place of exp_avg": {"m / (1 - beta1**t)": "g"},
    "amsgrad is left out": {_V_HAT: "v_hat = v / (1 - beta2**t)"},
    "amsgrad takes the maximum after the bias correction": {
        "maximum(v_max, v)": "maximum(v_max, v / (1 - beta2**t))",
        _V_HAT: "v_hat = v_max if amsgrad else v / (1 - beta2**t)",
    },
    "amsgrad corrects no bias of its maximum": {_V_HAT: "v_hat = v_max if amsgrad else v / (1 - beta2**t)"},
    "amsgrad overwrites exp_avg_sq by its maximum": {
        "v_max = maximum(v_max, v)": "v_max = maximum(v_max, v); v = v_max"
    },
}
_STEP = "w = w - lr * m_hat / (sqrt(v_hat) + eps)"

add_mistakes(
    adam,
    {
        **_ADAM_BODY,
        **COUPLED,
        "weight decay joins exp_avg but not exp_avg_sq": {
            "(1 - beta2) * g**2": "(1 - beta2) * (g if decoupled_weight_decay else g - weight_decay * w)**2"
        },
        **decoupled(_STEP),
    },
)

add_mistakes(
    adamw,
    {
        **_ADAM_BODY,
        **decoupled(_STEP),
        "weight decay is left out": {
            "if weight_decay and decoupled_weight_decay: w = w - lr * weight_decay * w": ""
        },
        "maximize turns the sign of weight decay too": {
            "lr * weight_decay * w": "(-lr if maximize else lr) * weight_decay * w"
        },
    },
)

_U = "u = maximum(beta2 * u, absolute(g) + eps)"
_U_STEP = "lr / (1 - beta1**t) * m / u"

add_mistakes(
    adamax,
    {
        **NO_MAXIMIZE,
        **PENALTY,
        "the two betas are swapped": {"beta1, beta2 = betas": "beta2, beta1 = betas"},
        "exp_avg adds the gradient without the factor 1 - beta1": {"(1 - beta1) * g": "g"},
        "the bias of exp_avg is not corrected": {"lr / (1 - beta1**t)": "lr"},
        "the bias of exp_avg is corrected one step ahead": {"beta1**t": "beta1**(t + 1)"},
        "the bias of exp_inf is corrected": {_U_STEP: "lr / (1 - beta1**t) * m / (u / (1 - beta2**t))"},
        "eps is not added to the gradient's size": {_U: "u = maximum(beta2 * u, absolute(g))"},
        "eps is added to exp_inf itself, not to the gradient's size": {
            _U: "u = maximum(beta2 * u, absolute(g)) + eps"
        },
        "eps is added to exp_inf only where it divides": {
            _U: "u = maximum(beta2 * u, absolute(g))",
            _U_STEP: "lr / (1 - beta1**t) * m / (u + eps)",
        },
        "exp_inf is a running mean": {_U: "u = beta2 * u + (1 - beta2) * (absolute(g) + eps)"},
        "exp_inf does not decay": {"beta2 * u": "u"},
        "exp_inf sees the gradient with its sign": {"absolute(g)": "g"},
    },
)

_MU = "mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))"
_MU_NEXT = "mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))"
_M_HAT = "m_hat = mu_next * m / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)"

add_mistakes(
    nadam,
    {
        **NO_MAXIMIZE,
        **COUPLED,
        **decoupled(_STEP),
        **MOMENTS,
        **_ROOT_OF_V,
        "the bias of exp_avg_sq is not corrected": {"v / (1 - beta2**t)": "v"},
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
        "the look-ahead has this step's mu in place of the next one's": {_MU_NEXT: "mu_next = mu"},
        "the bias of exp_avg is corrected by mu, not by its product": {
            "mu_product = mu_product * mu": "mu_product = mu"
        },
        "the bias of exp_avg is corrected by powers of beta1, not by the product of mu": {
            _M_HAT: "m_hat = mu_next * m / (1 - beta1**(t + 1)) + (1 - mu) * g / (1 - beta1**t)"
        },
        "the product of mu lacks the next mu": {"mu_product * mu_next": "mu_product"},
        "exp_avg is averaged with mu instead of beta1": {
            "m = beta1 * m + (1 - beta1) * g": "m = mu * m + (1 - mu) * g"
        },
        "the gradient's own part of the step is left out": {
            _M_HAT: "m_hat = mu_next * m / (1 - mu_product * mu_next)"
        },
    },
)

_ADAPTIVE = "r * sqrt(1 - beta2**t) / (sqrt(v) + eps)"
_RECTIFICATION = "(rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)"
_RADAM_STEP = "w = w - lr * m_hat * step"

add_mistakes(
    radam,
    {
        **NO_MAXIMIZE,
        **COUPLED,
        **decoupled(_RADAM_STEP),
        **MOMENTS,
        **_NO_M_CORRECTION,
        "the bias of exp_avg_sq is not corrected": {_ADAPTIVE: "r / (sqrt(v) + eps)"},
        "eps is inside the square root": {"sqrt(v) + eps": "sqrt(v + eps)"},
        "eps is left out": {"sqrt(v) + eps": "sqrt(v)"},
        "eps is added after the bias of exp_avg_sq is corrected": {
            _ADAPTIVE: "r / (sqrt(v / (1 - beta2**t)) + eps)"
        },
        "the variance is rectified from rho > 4 on": {"rho > 5": "rho > 4"},
        "the adaptive step is not rectified": {_ADAPTIVE: "sqrt(1 - beta2**t) / (sqrt(v) + eps)"},
        "the warm-up divides by exp_avg_sq as well": {
            f"where(rho > 5, {_ADAPTIVE}, 1.0)": _ADAPTIVE.replace("r *", "where(rho > 5, r, 1.0) *")
        },
        "the warm-up takes no step": {"1.0": "0.0"},
        "the warm-up never ends": {"rho > 5": "False"},
        "rho lacks its factor of two": {"2 * t * beta2**t": "t * beta2**t"},
        "rho is one step ahead": {
            "2 * t * beta2**t / (1 - beta2**t)": "2 * (t + 1) * beta2 ** (t + 1) / (1 - beta2 ** (t + 1))"
        },
        "rectification lacks its square root": {f"r = sqrt({_RECTIFICATION})": f"r = {_RECTIFICATION}"},
    },
)

_M_LINE = "m = where(g != 0, beta1 * m + (1 - beta1) * g, m)"
_V_LINE = "v = where(g != 0, beta2 * v + (1 - beta2) * g**2, v)"
_W_LINE = "w = where(g != 0, w - lr_t * m / (sqrt(v) + eps), w)"
_LR_T = "lr * sqrt(1 - beta2**t) / (1 - beta1**t)"

add_mistakes(
    sparseadam,
    {
        **NO_MAXIMIZE,
        **MOMENTS,
        "a weight without a gradient moves on its momentum": {_W_LINE: "w = w - lr_t * m / (sqrt(v) + eps)"},
        "the moments decay where there is no gradient": {
            _M_LINE: "m = beta1 * m + (1 - beta1) * g",
            _V_LINE: "v = beta2 * v + (1 - beta2) * g**2",
        },
        "no bias is corrected": {_LR_T: "lr"},
        "the bias of exp_avg is not corrected": {_LR_T: "lr * sqrt(1 - beta2**t)"},
        "the bias of exp_avg_sq is not corrected": {_LR_T: "lr / (1 - beta1**t)"},
        "the two bias corrections are swapped": {_LR_T: "lr * sqrt(1 - beta1**t) / (1 - beta2**t)"},
        "the bias correction of exp_avg_sq lacks its square root": {
            _LR_T: "lr * (1 - beta2**t) / (1 - beta1**t)"
        },
        "eps is inside the square root": {"sqrt(v) + eps": "sqrt(v + eps)"},
        "eps is left out": {"sqrt(v) + eps": "sqrt(v)"},
        "eps is added after the bias of exp_avg_sq is corrected": {
            "sqrt(v) + eps": "sqrt(v) + eps * sqrt(1 - beta2**t)"
        },
    },
)
