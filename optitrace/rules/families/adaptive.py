"""Rules that divide the gradient by a record of its size: Adagrad, RMSprop, Adadelta, Adafactor."""

from __future__ import annotations

from optitrace.functions import Number, machine_epsilon, maximum, minimum, rms, sqrt
from optitrace.rules.hyperparameter import Detail
from optitrace.rules.mistakes import add_mistakes
from optitrace.rules.rule import StateEntry, TorchClass, rule


@rule(
    StateEntry("s", "sum", initial="initial_accumulator_value"),
    torch=TorchClass("Adagrad", implementations=("single", "foreach", "fused")),
    source="Duchi, Hazan & Singer 2011, the diagonal form",
    departures=("lr_decay and initial_accumulator_value are torch's additions.",),
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


add_mistakes(
    adagrad,
    {
        "lr_decay shrinks lr exponentially": {
            "lr / (1 + (t - 1) * lr_decay)": "lr * (1 - lr_decay) ** (t - 1)"
        },
        "the sum is a mean": {"s = s + g**2": "s = s + (g**2 - s) / t"},
    },
)

_ROOT = "sqrt(v - g_mean**2 if centered else v) + eps"
_MOMENTUM = "if momentum: b = momentum * b + step; step = b"

add_mistakes(
    rmsprop,
    {
        "the bias of square_avg is corrected unless centered": {
            _ROOT: "sqrt(v - g_mean**2 if centered else v / (1 - alpha**t)) + eps"
        },
        "lr is inside the momentum_buffer": {
            _MOMENTUM: "if momentum: b = momentum * b + lr * step; step = b / lr"
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
        "acc_delta is used after its update": {_U: f"{_U}\n{_STEP}"},
        "acc_delta averages the step times lr": {_U: "u = rho * u + (1 - rho) * (lr * step)**2"},
        "acc_delta averages the gradient instead of the step": {_U: "u = rho * u + (1 - rho) * g**2"},
        "the size of past steps is left out": {_STEP: "step = g / sqrt(v + eps)"},
    },
)

add_mistakes(
    adafactor,
    {
        "weight decay is scaled by the relative step instead of lr": {
            "lr * weight_decay * w": "alpha * weight_decay * w"
        },
        "lr is multiplied by t**-0.5": {"minimum(lr, 1 / t**0.5)": "lr / t**0.5"},
        "eps1 is added to the squared gradient": {"g**2": "(g**2 + eps1)", "maximum(v, eps1**2)": "v"},
    },
)
