"""Rules that divide the gradient by a record of its size: Adagrad, RMSprop, Adadelta, Adafactor."""

from __future__ import annotations

from optitrace.functions import Number, machine_epsilon, maximum, minimum, rms, sqrt
from optitrace.rules.discriminating_cases import DECAY_AND_MAXIMIZE
from optitrace.rules.hyperparameter import Detail
from optitrace.rules.mistakes import NO_MAXIMIZE, PENALTY, add_mistakes
from optitrace.rules.rule import StateEntry, TorchClass, rule


@rule(
    StateEntry("s", "sum", initial="initial_accumulator_value"),
    torch=TorchClass("Adagrad", implementations=("single", "foreach", "fused")),
    source="Duchi, Hazan & Singer 2011, the diagonal form",
    departures=("lr_decay and initial_accumulator_value are torch's additions.",),
    # lr_decay counts from step 2; the sum starts above zero
    cases=(
        {"lr": 0.1},
        {"lr": 0.1, "lr_decay": 0.5, "initial_accumulator_value": 0.3, "eps": 1e-2, **DECAY_AND_MAXIMIZE},
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1},
    ),
)
def adagrad(
    w: Number,
    g: Number,
    t: int,
    s: Number,
    *,
    lr: float = 1e-2,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """A learning rate for each weight, falling with the sum of its squared gradients."""
    if maximize:
        g = -g
    if weight_decay:
        g = g + weight_decay * w
    lr_t = lr / (1 + (t - 1) * lr_decay)
    s = s + g**2
    w = w - lr_t * g / (sqrt(s) + eps)
    return w, s


@rule(
    StateEntry("v", "square_avg"),
    StateEntry("b", "momentum_buffer", when="momentum"),
    StateEntry("g_mean", "grad_avg", when="centered"),
    torch=TorchClass("RMSprop"),
    source="Hinton 2012, Neural Networks for Machine Learning, lecture 6e; "
    "centered and momentum: Graves 2013, arXiv:1308.0850",
    departures=("torch adds eps outside the square root; Graves adds it inside.",),
    # every pair of centered and momentum
    cases=(
        {"lr": 0.1},
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-2, "centered": True, **DECAY_AND_MAXIMIZE},
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-2, "momentum": 0.8, "weight_decay": 0.1},
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-2, "momentum": 0.8, "centered": True, **DECAY_AND_MAXIMIZE},
    ),
)
def rmsprop(
    w: Number,
    g: Number,
    t: int,
    v: Number,
    b: Number,
    g_mean: Number,
    *,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """The gradient divided by the root of a running mean of its square."""
    if maximize:
        g = -g
    if weight_decay:
        g = g + weight_decay * w
    v = alpha * v + (1 - alpha) * g**2
    if centered:
        g_mean = alpha * g_mean + (1 - alpha) * g
    step = g / (sqrt(v - g_mean**2 if centered else v) + eps)
    if momentum:
        b = momentum * b + step
        step = b
    w = w - lr * step
    return w, v, b, g_mean


@rule(
    StateEntry("v", "square_avg"),
    StateEntry("u", "acc_delta"),
    torch=TorchClass("Adadelta", lr_is_multiplier=True),
    source="Zeiler 2012, arXiv:1212.5701, algorithm 1",
    departures=("lr multiplies the step; the paper has none, which is lr = 1.",),
    details={"lr": Detail("Factor of every step.")},
    # an lr that is not 1 shows what it multiplies
    cases=(
        {"lr": 1.0},
        {"lr": 0.5, "rho": 0.8, "eps": 1e-2, **DECAY_AND_MAXIMIZE},
        {"lr": 0.5, "weight_decay": 0.1},
    ),
)
def adadelta(
    w: Number,
    g: Number,
    t: int,
    v: Number,
    u: Number,
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Steps scaled by the ratio of the root mean squares of past updates and gradients."""
    if maximize:
        g = -g
    if weight_decay:
        g = g + weight_decay * w
    v = rho * v + (1 - rho) * g**2
    step = sqrt(u + eps) / sqrt(v + eps) * g
    u = rho * u + (1 - rho) * step**2
    w = w - lr * step
    return w, v, u


@rule(
    StateEntry("v", "variance"),
    torch=TorchClass("Adafactor"),
    source="Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 and 6, for a vector of weights",
    departures=(
        "lr caps the relative step t^(-1/2); the paper's cap is 1e-2.",
        "eps1 bounds the square root of v from below; the paper adds it to the squared gradient. "
        "None stands for the machine epsilon of the dtype.",
        "For weights of two or more dimensions torch keeps row_var and col_var in place of variance.",
    ),
    details={
        "lr": Detail("Cap of the relative step."),
        "weight_decay": Detail("Decoupled weight decay."),
        "eps": Detail("Smallest root of the second moment (none: the dtype's), of the weights' size."),
    },
    # an lr above t^(-1/2) is capped; eps1 and eps2 are large enough to be the greater number
    cases=(
        {"lr": 0.1},
        {"lr": 0.5, "eps": (2.0, 1e-3), "d": 1.5, **DECAY_AND_MAXIMIZE},
        {"lr": 0.3, "eps": (1e-3, 3.0), "beta2_decay": -0.5, "weight_decay": 0.1},
    ),
)
def adafactor(
    w: Number,
    g: Number,
    t: int,
    v: Number,
    *,
    lr: float = 1e-2,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Steps relative to the size of the weights, clipped by the root mean square of the update."""
    eps1, eps2 = eps
    if eps1 is None:
        eps1 = machine_epsilon(w)
    if maximize:
        g = -g
    alpha = maximum(eps2, rms(w)) * minimum(lr, 1 / t**0.5)
    if weight_decay:
        w = w - lr * weight_decay * w
    beta2 = 1 - t**beta2_decay
    v = beta2 * v + (1 - beta2) * g**2
    u = g / sqrt(maximum(v, eps1**2))
    w = w - alpha * u / maximum(1, rms(u) / d)
    return w, v


_SUM = "s = s + g**2"
_SUM_STEP = "w = w - lr_t * g / (sqrt(s) + eps)"

add_mistakes(
    adagrad,
    {
        **NO_MAXIMIZE,
        **PENALTY,
        "weight decay joins the step but not the sum": {_SUM: "s = s + (g - weight_decay * w)**2"},
        "lr_decay counts from step 1": {"(t - 1) * lr_decay": "t * lr_decay"},
        "lr_decay is left out": {"lr / (1 + (t - 1) * lr_decay)": "lr"},
        "lr_decay shrinks lr exponentially": {
            "lr / (1 + (t - 1) * lr_decay)": "lr * (1 - lr_decay) ** (t - 1)"
        },
        "the sum starts at zero": {_SUM: "s = s + g**2 - (initial_accumulator_value if t == 1 else 0)"},
        "the sum is a mean": {_SUM: "s = s + (g**2 - s) / t"},
        "the step has the sum of the step before": {f"{_SUM}\n{_SUM_STEP}": f"{_SUM_STEP}\n{_SUM}"},
        "eps is inside the square root": {"sqrt(s) + eps": "sqrt(s + eps)"},
        "eps is left out": {"sqrt(s) + eps": "sqrt(s)"},
        "the square root of the sum is left out": {"sqrt(s) + eps": "s + eps"},
    },
)

_ROOT = "sqrt(v - g_mean**2 if centered else v) + eps"
_DIVIDED = f"step = g / ({_ROOT})"
_V = "v = alpha * v + (1 - alpha) * g**2"
_CENTER = "if centered: g_mean = alpha * g_mean + (1 - alpha) * g"
_MOMENTUM = "if momentum: b = momentum * b + step; step = b"

add_mistakes(
    rmsprop,
    {
        **NO_MAXIMIZE,
        **PENALTY,
        "alpha weighs the new squared gradient": {_V: "v = (1 - alpha) * v + alpha * g**2"},
        "square_avg adds the squared gradient without the factor 1 - alpha": {_V: "v = alpha * v + g**2"},
        "the bias of square_avg is corrected": {
            _ROOT: "sqrt(v - g_mean**2 if centered else v / (1 - alpha**t)) + eps"
        },
        "the step has the square_avg of the step before": {_V: "", _DIVIDED: f"{_DIVIDED}\n{_V}"},
        "eps is inside the square root": {_ROOT: "sqrt((v - g_mean**2 if centered else v) + eps)"},
        "eps is left out": {_ROOT: "sqrt(v - g_mean**2 if centered else v)"},
        "the square root is left out": {_ROOT: "(v - g_mean**2 if centered else v) + eps"},
        "centered is left out": {_ROOT: "sqrt(v) + eps"},
        "centered subtracts the mean, not its square": {"g_mean**2": "g_mean"},
        "centered subtracts the mean of the step before": {_CENTER: "", _DIVIDED: f"{_DIVIDED}\n{_CENTER}"},
        "momentum is left out": {_MOMENTUM: ""},
        "lr is inside the momentum_buffer": {
            _MOMENTUM: "if momentum: b = momentum * b + lr * step; step = b / lr"
        },
        "the momentum_buffer is a running mean": {
            "momentum * b + step": "momentum * b + (1 - momentum) * step"
        },
        "momentum gathers the gradient before it is divided": {
            _MOMENTUM: f"if momentum: b = momentum * b + g; step = b / ({_ROOT})"
        },
    },
)

_STEP = "step = sqrt(u + eps) / sqrt(v + eps) * g"
_U = "u = rho * u + (1 - rho) * step**2"

add_mistakes(
    adadelta,
    {
        **NO_MAXIMIZE,
        **PENALTY,
        "rho weighs the new squared gradient": {"rho * v + (1 - rho) * g**2": "(1 - rho) * v + rho * g**2"},
        "rho weighs the new squared step": {_U: "u = (1 - rho) * u + rho * step**2"},
        "square_avg adds the squared gradient without the factor 1 - rho": {"(1 - rho) * g**2": "g**2"},
        "acc_delta is used after its update": {_U: f"{_U}\n{_STEP}"},
        "acc_delta averages the step times lr": {_U: "u = rho * u + (1 - rho) * (lr * step)**2"},
        "acc_delta averages the gradient instead of the step": {_U: "u = rho * u + (1 - rho) * g**2"},
        "lr is left out": {"w = w - lr * step": "w = w - step"},
        "eps is outside both square roots": {_STEP: "step = (sqrt(u) + eps) / (sqrt(v) + eps) * g"},
        "eps is added to square_avg only": {"sqrt(u + eps)": "sqrt(u)"},
        "eps is added to acc_delta only": {"sqrt(v + eps)": "sqrt(v)"},
        "both square roots are left out": {_STEP: "step = (u + eps) / (v + eps) * g"},
        "the size of past steps is left out": {_STEP: "step = g / sqrt(v + eps)"},
    },
)

_SIGN = "if maximize: g = -g"
_ALPHA = "alpha = maximum(eps2, rms(w)) * minimum(lr, 1 / t**0.5)"
_DECAY = "if weight_decay: w = w - lr * weight_decay * w"
_UPDATE = "w = w - alpha * u / maximum(1, rms(u) / d)"

add_mistakes(
    adafactor,
    {
        **NO_MAXIMIZE,
        "weight decay is left out": {_DECAY: ""},
        "weight decay is not scaled by lr": {"lr * weight_decay * w": "weight_decay * w"},
        "weight decay is scaled by the relative step instead of lr": {
            "lr * weight_decay * w": "alpha * weight_decay * w"
        },
        "weight decay joins the gradient instead of shrinking the weights": {
            _DECAY: "if weight_decay: g = g + weight_decay * w"
        },
        "weight decay comes after the step": {_DECAY: "", _UPDATE: f"{_UPDATE}\n{_DECAY}"},
        "the size of the weights is taken after weight decay": {f"{_ALPHA}\n{_DECAY}": f"{_DECAY}\n{_ALPHA}"},
        "the step is not relative to the size of the weights": {_ALPHA: "alpha = minimum(lr, 1 / t**0.5)"},
        "eps2 is added to the size of the weights": {"maximum(eps2, rms(w))": "eps2 + rms(w)"},
        "eps2 does not bound the size of the weights": {"maximum(eps2, rms(w))": "rms(w)"},
        "lr does not fall as t**-0.5": {"minimum(lr, 1 / t**0.5)": "lr"},
        "lr does not cap the relative step": {"minimum(lr, 1 / t**0.5)": "1 / t**0.5"},
        "lr is multiplied by t**-0.5": {"minimum(lr, 1 / t**0.5)": "lr / t**0.5"},
        "the decay of the second moment is one step ahead": {"t**beta2_decay": "(t + 1) ** beta2_decay"},
        "the second moment does not decay": {"beta2 * v": "v"},
        "eps1 is not squared": {"eps1**2": "eps1"},
        "eps1 is added to the squared gradient": {"g**2": "(g**2 + eps1)", "maximum(v, eps1**2)": "v"},
        "eps1 is added to the second moment": {"maximum(v, eps1**2)": "v + eps1**2"},
        "the square root is left out": {"sqrt(maximum(v, eps1**2))": "maximum(v, eps1**2)"},
        "the update is not clipped": {_UPDATE: "w = w - alpha * u"},
        "d is left out of the clipping": {"rms(u) / d": "rms(u)"},
        "d multiplies where it should divide": {"rms(u) / d": "rms(u) * d"},
        "a small update is enlarged": {"maximum(1, rms(u) / d)": "(rms(u) / d)"},
    },
)
