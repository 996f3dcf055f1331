"""Mistakes in adam and its kin."""

from __future__ import annotations

from optitrace.rules.mistakes.mistake import Mistake
from optitrace.rules.mistakes.shared import COUPLED, MOMENTS, NO_MAXIMIZE, PENALTY, decoupled

_NO_M_CORRECTION = Mistake("the bias of exp_avg is not corrected", {"m / (1 - beta1**t)": "m"})
_ROOT_OF_V = (
    Mistake("eps is inside the square root", {"sqrt(v_hat) + eps": "sqrt(v_hat + eps)"}),
    Mistake("eps is left out", {"sqrt(v_hat) + eps": "sqrt(v_hat)"}),
    Mistake(
        "eps is added before the bias of exp_avg_sq is corrected",
        {"sqrt(v_hat) + eps": "sqrt(v_hat) + eps / sqrt(1 - beta2**t)"},
    ),
    Mistake("the square root of exp_avg_sq is left out", {"sqrt(v_hat) + eps": "v_hat + eps"}),
)
_V_HAT = "v_hat = (v_max if amsgrad else v) / (1 - beta2**t)"

_ADAM_BODY = (
    NO_MAXIMIZE,
    *MOMENTS,
    Mistake("no bias is corrected", {"m / (1 - beta1**t)": "m", _V_HAT: "v_hat = v_max if amsgrad else v"}),
    _NO_M_CORRECTION,
    Mistake("the bias of exp_avg_sq is not corrected", {_V_HAT: "v_hat = v_max if amsgrad else v"}),
    Mistake(
        "the bias corrections are one step ahead",
        {"beta1**t": "beta1**(t + 1)", "beta2**t": "beta2**(t + 1)"},
    ),
    *_ROOT_OF_V,
    Mistake("the step has the gradient itself in place of exp_avg", {"m / (1 - beta1**t)": "g"}),
    Mistake("amsgrad is left out", {_V_HAT: "v_hat = v / (1 - beta2**t)"}),
    Mistake(
        "amsgrad takes the maximum after the bias correction",
        {
            "maximum(v_max, v)": "maximum(v_max, v / (1 - beta2**t))",
            _V_HAT: "v_hat = v_max if amsgrad else v / (1 - beta2**t)",
        },
    ),
    Mistake(
        "amsgrad corrects no bias of its maximum",
        {_V_HAT: "v_hat = v_max if amsgrad else v / (1 - beta2**t)"},
    ),
    Mistake(
        "amsgrad overwrites exp_avg_sq by its maximum",
        {"v_max = maximum(v_max, v)": "v_max = maximum(v_max, v); v = v_max"},
    ),
)
_STEP = "w = w - lr * m_hat / (sqrt(v_hat) + eps)"

ADAM = (
    *_ADAM_BODY,
    *COUPLED,
    Mistake(
        "weight decay joins exp_avg but not exp_avg_sq",
        {"(1 - beta2) * g**2": "(1 - beta2) * (g if decoupled_weight_decay else g - weight_decay * w)**2"},
    ),
    *decoupled(_STEP),
)

ADAMW = (
    *_ADAM_BODY,
    *decoupled(_STEP),
    Mistake(
        "weight decay is left out",
        {"if weight_decay and decoupled_weight_decay: w = w - lr * weight_decay * w": ""},
    ),
    Mistake(
        "maximize turns the sign of weight decay too",
        {"lr * weight_decay * w": "(-lr if maximize else lr) * weight_decay * w"},
    ),
)

_U = "u = maximum(beta2 * u, absolute(g) + eps)"
_U_STEP = "lr / (1 - beta1**t) * m / u"

ADAMAX = (
    NO_MAXIMIZE,
    *PENALTY,
    Mistake("the two betas are swapped", {"beta1, beta2 = betas": "beta2, beta1 = betas"}),
    Mistake("exp_avg adds the gradient without the factor 1 - beta1", {"(1 - beta1) * g": "g"}),
    Mistake("the bias of exp_avg is not corrected", {"lr / (1 - beta1**t)": "lr"}),
    Mistake("the bias of exp_avg is corrected one step ahead", {"beta1**t": "beta1**(t + 1)"}),
    Mistake("the bias of exp_inf is corrected", {_U_STEP: "lr / (1 - beta1**t) * m / (u / (1 - beta2**t))"}),
    Mistake("eps is not added to the gradient's size", {_U: "u = maximum(beta2 * u, absolute(g))"}),
    Mistake(
        "eps is added to exp_inf itself, not to the gradient's size",
        {_U: "u = maximum(beta2 * u, absolute(g)) + eps"},
    ),
    Mistake(
        "eps is added to exp_inf only where it divides",
        {_U: "u = maximum(beta2 * u, absolute(g))", _U_STEP: "lr / (1 - beta1**t) * m / (u + eps)"},
    ),
    Mistake("exp_inf is a running mean", {_U: "u = beta2 * u + (1 - beta2) * (absolute(g) + eps)"}),
    Mistake("exp_inf does not decay", {"beta2 * u": "u"}),
    Mistake("exp_inf sees the gradient with its sign", {"absolute(g)": "g"}),
)

_MU = "mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))"
_MU_NEXT = "mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))"
_M_HAT = "m_hat = mu_next * m / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)"

NADAM = (
    NO_MAXIMIZE,
    *COUPLED,
    *decoupled(_STEP),
    *MOMENTS,
    *_ROOT_OF_V,
    Mistake("the bias of exp_avg_sq is not corrected", {"v / (1 - beta2**t)": "v"}),
    Mistake("momentum does not look ahead, as in adam", {_M_HAT: "m_hat = m / (1 - beta1**t)"}),
    Mistake("mu does not follow a schedule", {_MU: "mu = beta1", _MU_NEXT: "mu_next = beta1"}),
    Mistake(
        "momentum_decay is left out of the schedule of mu",
        {"t * momentum_decay": "t", "(t + 1) * momentum_decay": "t + 1"},
    ),
    Mistake(
        "the schedule of mu begins at 0",
        {"t * momentum_decay": "(t - 1) * momentum_decay", "(t + 1) * momentum_decay": "t * momentum_decay"},
    ),
    Mistake("the look-ahead has this step's mu in place of the next one's", {_MU_NEXT: "mu_next = mu"}),
    Mistake(
        "the bias of exp_avg is corrected by mu, not by its product",
        {"mu_product = mu_product * mu": "mu_product = mu"},
    ),
    Mistake(
        "the bias of exp_avg is corrected by powers of beta1, not by the product of mu",
        {_M_HAT: "m_hat = mu_next * m / (1 - beta1**(t + 1)) + (1 - mu) * g / (1 - beta1**t)"},
    ),
    Mistake("the product of mu lacks the next mu", {"mu_product * mu_next": "mu_product"}),
    Mistake(
        "exp_avg is averaged with mu instead of beta1",
        {"m = beta1 * m + (1 - beta1) * g": "m = mu * m + (1 - mu) * g"},
    ),
    Mistake(
        "the gradient's own part of the step is left out",
        {_M_HAT: "m_hat = mu_next * m / (1 - mu_product * mu_next)"},
    ),
)

_ADAPTIVE = "r * sqrt(1 - beta2**t) / (sqrt(v) + eps)"
_RECTIFICATION = "(rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)"
_RADAM_STEP = "w = w - lr * m_hat * step"

RADAM = (
    NO_MAXIMIZE,
    *COUPLED,
    *decoupled(_RADAM_STEP),
    *MOMENTS,
    _NO_M_CORRECTION,
    Mistake("the bias of exp_avg_sq is not corrected", {_ADAPTIVE: "r / (sqrt(v) + eps)"}),
    Mistake("eps is inside the square root", {"sqrt(v) + eps": "sqrt(v + eps)"}),
    Mistake("eps is left out", {"sqrt(v) + eps": "sqrt(v)"}),
    Mistake(
        "eps is added after the bias of exp_avg_sq is corrected",
        {_ADAPTIVE: "r / (sqrt(v / (1 - beta2**t)) + eps)"},
    ),
    Mistake("the variance is rectified from rho > 4 on", {"rho > 5": "rho > 4"}),
    Mistake("the adaptive step is not rectified", {_ADAPTIVE: "sqrt(1 - beta2**t) / (sqrt(v) + eps)"}),
    Mistake(
        "the warm-up divides by exp_avg_sq as well",
        {f"where(rho > 5, {_ADAPTIVE}, 1.0)": _ADAPTIVE.replace("r *", "where(rho > 5, r, 1.0) *")},
    ),
    Mistake("the warm-up takes no step", {"1.0": "0.0"}),
    Mistake("the warm-up never ends", {"rho > 5": "False"}),
    Mistake("rho lacks its factor of two", {"2 * t * beta2**t": "t * beta2**t"}),
    Mistake(
        "rho is one step ahead",
        {"2 * t * beta2**t / (1 - beta2**t)": "2 * (t + 1) * beta2 ** (t + 1) / (1 - beta2 ** (t + 1))"},
    ),
    Mistake(
        "rectification lacks its square root",
        {f"r = sqrt({_RECTIFICATION})": f"r = {_RECTIFICATION}"},
    ),
)

_M_LINE = "m = where(g != 0, beta1 * m + (1 - beta1) * g, m)"
_V_LINE = "v = where(g != 0, beta2 * v + (1 - beta2) * g**2, v)"
_W_LINE = "w = where(g != 0, w - lr_t * m / (sqrt(v) + eps), w)"
_LR_T = "lr * sqrt(1 - beta2**t) / (1 - beta1**t)"

SPARSEADAM = (
    NO_MAXIMIZE,
    *MOMENTS,
    Mistake(
        "a weight without a gradient moves on its momentum", {_W_LINE: "w = w - lr_t * m / (sqrt(v) + eps)"}
    ),
    Mistake(
        "the moments decay where there is no gradient",
        {_M_LINE: "m = beta1 * m + (1 - beta1) * g", _V_LINE: "v = beta2 * v + (1 - beta2) * g**2"},
    ),
    Mistake("no bias is corrected", {_LR_T: "lr"}),
    Mistake("the bias of exp_avg is not corrected", {_LR_T: "lr * sqrt(1 - beta2**t)"}),
    Mistake("the bias of exp_avg_sq is not corrected", {_LR_T: "lr / (1 - beta1**t)"}),
    Mistake("the two bias corrections are swapped", {_LR_T: "lr * sqrt(1 - beta1**t) / (1 - beta2**t)"}),
    Mistake(
        "the bias correction of exp_avg_sq lacks its square root",
        {_LR_T: "lr * (1 - beta2**t) / (1 - beta1**t)"},
    ),
    Mistake("eps is inside the square root", {"sqrt(v) + eps": "sqrt(v + eps)"}),
    Mistake("eps is left out", {"sqrt(v) + eps": "sqrt(v)"}),
    Mistake(
        "eps is added after the bias of exp_avg_sq is corrected",
        {"sqrt(v) + eps": "sqrt(v) + eps * sqrt(1 - beta2**t)"},
    ),
)
