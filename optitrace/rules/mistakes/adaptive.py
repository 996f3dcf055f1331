"""Mistakes in adagrad, rmsprop, adadelta and adafactor."""

from __future__ import annotations

from optitrace.rules.mistakes.mistake import Mistake
from optitrace.rules.mistakes.shared import NO_MAXIMIZE, PENALTY

_SUM = "s = s + g**2"
_SUM_STEP = "w = w - lr_t * g / (sqrt(s) + eps)"

ADAGRAD = (
    NO_MAXIMIZE,
    *PENALTY,
    Mistake("weight decay joins the step but not the sum", {_SUM: "s = s + (g - weight_decay * w)**2"}),
    Mistake("lr_decay counts from step 1", {"(t - 1) * lr_decay": "t * lr_decay"}),
    Mistake("lr_decay is left out", {"lr / (1 + (t - 1) * lr_decay)": "lr"}),
    Mistake(
        "lr_decay shrinks lr exponentially",
        {"lr / (1 + (t - 1) * lr_decay)": "lr * (1 - lr_decay) ** (t - 1)"},
    ),
    Mistake("the sum starts at zero", {_SUM: "s = s + g**2 - (initial_accumulator_value if t == 1 else 0)"}),
    Mistake("the sum is a mean", {_SUM: "s = s + (g**2 - s) / t"}),
    Mistake("the step has the sum of the step before", {f"{_SUM}\n{_SUM_STEP}": f"{_SUM_STEP}\n{_SUM}"}),
    Mistake("eps is inside the square root", {"sqrt(s) + eps": "sqrt(s + eps)"}),
    Mistake("eps is left out", {"sqrt(s) + eps": "sqrt(s)"}),
    Mistake("the square root of the sum is left out", {"sqrt(s) + eps": "s + eps"}),
)

_ROOT = "sqrt(v - g_mean**2 if centered else v) + eps"
_DIVIDED = f"step = g / ({_ROOT})"
_V = "v = alpha * v + (1 - alpha) * g**2"
_CENTER = "if centered: g_mean = alpha * g_mean + (1 - alpha) * g"
_MOMENTUM = "if momentum: b = momentum * b + step; step = b"

RMSPROP = (
    NO_MAXIMIZE,
    *PENALTY,
    Mistake("alpha weighs the new squared gradient", {_V: "v = (1 - alpha) * v + alpha * g**2"}),
    Mistake(
        "square_avg adds the squared gradient without the factor 1 - alpha", {_V: "v = alpha * v + g**2"}
    ),
    Mistake(
        "the bias of square_avg is corrected",
        {_ROOT: "sqrt(v - g_mean**2 if centered else v / (1 - alpha**t)) + eps"},
    ),
    Mistake("the step has the square_avg of the step before", {_V: "", _DIVIDED: f"{_DIVIDED}\n{_V}"}),
    Mistake("eps is inside the square root", {_ROOT: "sqrt((v - g_mean**2 if centered else v) + eps)"}),
    Mistake("eps is left out", {_ROOT: "sqrt(v - g_mean**2 if centered else v)"}),
    Mistake("the square root is left out", {_ROOT: "(v - g_mean**2 if centered else v) + eps"}),
    Mistake("centered is left out", {_ROOT: "sqrt(v) + eps"}),
    Mistake("centered subtracts the mean, not its square", {"g_mean**2": "g_mean"}),
    Mistake(
        "centered subtracts the mean of the step before", {_CENTER: "", _DIVIDED: f"{_DIVIDED}\n{_CENTER}"}
    ),
    Mistake("momentum is left out", {_MOMENTUM: ""}),
    Mistake(
        "lr is inside the momentum_buffer",
        {_MOMENTUM: "if momentum: b = momentum * b + lr * step; step = b / lr"},
    ),
    Mistake(
        "the momentum_buffer is a running mean",
        {"momentum * b + step": "momentum * b + (1 - momentum) * step"},
    ),
    Mistake(
        "momentum gathers the gradient before it is divided",
        {_MOMENTUM: f"if momentum: b = momentum * b + g; step = b / ({_ROOT})"},
    ),
)

_STEP = "step = sqrt(u + eps) / sqrt(v + eps) * g"
_U = "u = rho * u + (1 - rho) * step**2"

ADADELTA = (
    NO_MAXIMIZE,
    *PENALTY,
    Mistake(
        "rho weighs the new squared gradient", {"rho * v + (1 - rho) * g**2": "(1 - rho) * v + rho * g**2"}
    ),
    Mistake("rho weighs the new squared step", {_U: "u = (1 - rho) * u + rho * step**2"}),
    Mistake("square_avg adds the squared gradient without the factor 1 - rho", {"(1 - rho) * g**2": "g**2"}),
    Mistake("acc_delta is used after its update", {_U: f"{_U}\n{_STEP}"}),
    Mistake("acc_delta averages the step times lr", {_U: "u = rho * u + (1 - rho) * (lr * step)**2"}),
    Mistake("acc_delta averages the gradient instead of the step", {_U: "u = rho * u + (1 - rho) * g**2"}),
    Mistake("lr is left out", {"w = w - lr * step": "w = w - step"}),
    Mistake("eps is outside both square roots", {_STEP: "step = (sqrt(u) + eps) / (sqrt(v) + eps) * g"}),
    Mistake("eps is added to square_avg only", {"sqrt(u + eps)": "sqrt(u)"}),
    Mistake("eps is added to acc_delta only", {"sqrt(v + eps)": "sqrt(v)"}),
    Mistake("both square roots are left out", {_STEP: "step = (u + eps) / (v + eps) * g"}),
    Mistake("the size of past steps is left out", {_STEP: "step = g / sqrt(v + eps)"}),
)

_SIGN = "if maximize: g = -g"
_ALPHA = "alpha = maximum(eps2, rms(w)) * minimum(lr, 1 / t**0.5)"
_DECAY = "if weight_decay: w = w - lr * weight_decay * w"
_UPDATE = "w = w - alpha * u / maximum(1, rms(u) / d)"

ADAFACTOR = (
    NO_MAXIMIZE,
    Mistake("weight decay is left out", {_DECAY: ""}),
    Mistake("weight decay is not scaled by lr", {"lr * weight_decay * w": "weight_decay * w"}),
    Mistake(
        "weight decay is scaled by the relative step instead of lr",
        {"lr * weight_decay * w": "alpha * weight_decay * w"},
    ),
    Mistake(
        "weight decay joins the gradient instead of shrinking the weights",
        {_DECAY: "if weight_decay: g = g + weight_decay * w"},
    ),
    Mistake("weight decay comes after the step", {_DECAY: "", _UPDATE: f"{_UPDATE}\n{_DECAY}"}),
    Mistake(
        "the size of the weights is taken after weight decay", {f"{_ALPHA}\n{_DECAY}": f"{_DECAY}\n{_ALPHA}"}
    ),
    Mistake(
        "the step is not relative to the size of the weights", {_ALPHA: "alpha = minimum(lr, 1 / t**0.5)"}
    ),
    Mistake("eps2 is added to the size of the weights", {"maximum(eps2, rms(w))": "eps2 + rms(w)"}),
    Mistake("eps2 does not bound the size of the weights", {"maximum(eps2, rms(w))": "rms(w)"}),
    Mistake("lr does not fall as t**-0.5", {"minimum(lr, 1 / t**0.5)": "lr"}),
    Mistake("lr does not cap the relative step", {"minimum(lr, 1 / t**0.5)": "1 / t**0.5"}),
    Mistake("lr is multiplied by t**-0.5", {"minimum(lr, 1 / t**0.5)": "lr / t**0.5"}),
    Mistake("the decay of the second moment is one step ahead", {"t**beta2_decay": "(t + 1) ** beta2_decay"}),
    Mistake("the second moment does not decay", {"beta2 * v": "v"}),
    Mistake("eps1 is not squared", {"eps1**2": "eps1"}),
    Mistake("eps1 is added to the squared gradient", {"g**2": "(g**2 + eps1)", "maximum(v, eps1**2)": "v"}),
    Mistake("eps1 is added to the second moment", {"maximum(v, eps1**2)": "v + eps1**2"}),
    Mistake("the square root is left out", {"sqrt(maximum(v, eps1**2))": "maximum(v, eps1**2)"}),
    Mistake("the update is not clipped", {_UPDATE: "w = w - alpha * u"}),
    Mistake("d is left out of the clipping", {"rms(u) / d": "rms(u)"}),
    Mistake("d multiplies where it should divide", {"rms(u) / d": "rms(u) * d"}),
    Mistake("a small update is enlarged", {"maximum(1, rms(u) / d)": "(rms(u) / d)"}),
)
