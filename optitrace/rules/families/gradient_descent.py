"""Rules that follow the gradient itself: SGD, its averaged form, and the sign-based Rprop."""

from __future__ import annotations

from optitrace.functions import Number, maximum, minimum, sign, where
from optitrace.rules.discriminating_cases import DECAY_AND_MAXIMIZE
from optitrace.rules.hyperparameter import Detail
from optitrace.rules.mistakes import NO_MAXIMIZE, PENALTY, add_mistakes
from optitrace.rules.rule import StateEntry, TorchClass, rule


@rule(
    StateEntry("b", "momentum_buffer", when="momentum"),
    torch=TorchClass("SGD", implementations=("single", "foreach", "fused"), counts_steps=False),
    source="Robbins & Monro 1951; momentum: Polyak 1964; Nesterov: Sutskever et al. 2013",
    departures=(
        "The first momentum_buffer is the gradient itself, without the factor (1 - dampening).",
        "lr multiplies the whole buffer, as in Polyak; in Sutskever et al. it is inside the buffer.",
    ),
    # dampening spares the first momentum_buffer; nesterov needs dampening 0
    cases=(
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, **DECAY_AND_MAXIMIZE},
        {"lr": 0.1, **DECAY_AND_MAXIMIZE},
    ),
)
def sgd(
    w: Number,
    g: Number,
    t: int,
    b: Number,
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Stochastic gradient descent, with momentum."""
    if maximize:
        g = -g
    if weight_decay:
        g = g + weight_decay * w
    if momentum:
        b = g if t == 1 else momentum * b + (1 - dampening) * g
        g = g + momentum * b if nesterov else b
    w = w - lr * g
    return w, b


@rule(
    StateEntry("eta", "eta", initial="lr", shape="parameter"),
    StateEntry("mu", "mu", initial=1.0, shape="parameter"),
    StateEntry("w_mean", "ax"),
    torch=TorchClass("ASGD"),
    source="Polyak & Juditsky 1992; step sizes: Bottou 2010",
    departures=(
        "A step uses eta and mu as the step before left them.",
        "torch keeps eta and mu in the default dtype, float32, even for float64 weights.",
    ),
    details={
        "lambd": Detail(minimum=0),
        "alpha": Detail("Power of the fall of the step size.", minimum=0),
        "t0": Detail(minimum=0),
    },
    # t0 within the run starts the averaging; a large lambd makes eta and mu fall at once
    cases=(
        {"lr": 0.1},
        {"lr": 0.1, "lambd": 0.5, "alpha": 0.6, "t0": 10.0, **DECAY_AND_MAXIMIZE},
        {"lr": 0.2, "lambd": 0.1, "t0": 0.0},
    ),
)
def asgd(
    w: Number,
    g: Number,
    t: int,
    eta: Number,
    mu: Number,
    w_mean: Number,
    *,
    lr: float = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Averaged stochastic gradient descent."""
    if maximize:
        g = -g
    if weight_decay:
        g = g + weight_decay * w
    w = w - lambd * eta * w - eta * g
    w_mean = where(mu == 1, w, w_mean + mu * (w - w_mean))
    eta = lr / (1 + lambd * lr * t) ** alpha
    mu = 1 / maximum(1, t - t0)
    return w, eta, mu, w_mean


@rule(
    StateEntry("g_prev", "prev"),
    StateEntry("s", "step_size", initial="lr"),
    torch=TorchClass("Rprop"),
    source="Riedmiller & Braun 1993, in the form iRprop- of Igel & Huesken 2000",
    departures=(
        "lr is the initial step size and acts only through step 1.",
        "Where the sign changed, the gradient counts as zero and is stored as zero.",
    ),
    details={"lr": Detail("Initial step size."), "step_sizes": Detail(is_range=True)},
    # both clamps within reach, at step 1 as well
    cases=(
        {"lr": 0.1},
        {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.02, 0.3), "maximize": True},
        {"lr": 1.0, "etas": (0.6, 1.1), "step_sizes": (1e-3, 0.5)},
        {"lr": 1e-4, "step_sizes": (1e-2, 0.5)},
    ),
)
def rprop(
    w: Number,
    g: Number,
    t: int,
    g_prev: Number,
    s: Number,
    *,
    lr: float = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50.0),
    maximize: bool = False,
) -> tuple[Number, ...]:
    """Resilient backpropagation: a step size for each weight, moved by the gradient's sign."""
    eta_minus, eta_plus = etas
    s_min, s_max = step_sizes
    if maximize:
        g = -g
    change = sign(g * g_prev)
    s = where(change > 0, eta_plus * s, where(change < 0, eta_minus * s, s))
    s = minimum(maximum(s, s_min), s_max)
    g = where(change < 0, 0.0, g)
    w = w - s * sign(g)
    g_prev = g
    return w, g_prev, s


_BUFFER = "b = g if t == 1 else momentum * b + (1 - dampening) * g"
_NESTEROV = "g + momentum * b if nesterov else b"

add_mistakes(
    sgd,
    {
        **NO_MAXIMIZE,
        **PENALTY,
        "weight decay comes after the step": {
            "if weight_decay: g = g + weight_decay * w": "",
            "w = w - lr * g": "w = w - lr * g\nw = w - lr * weight_decay * w",
        },
        "momentum is left out": {f"if momentum: {_BUFFER}; g = {_NESTEROV}": ""},
        "the first momentum_buffer is dampened": {
            _BUFFER: "b = (0 if t == 1 else momentum * b) + (1 - dampening) * g"
        },
        "dampening is left out": {"(1 - dampening) * g": "g"},
        "dampening scales the old momentum_buffer": {_BUFFER: "b = momentum * (1 - dampening) * b + g"},
        "the momentum_buffer is a running mean": {_BUFFER: "b = momentum * b + (1 - momentum) * g"},
        "lr is inside the momentum_buffer": {
            _BUFFER: "b = lr * g if t == 1 else momentum * b + (1 - dampening) * lr * g",
            _NESTEROV: "g + momentum * b / lr if nesterov else b / lr",
        },
        "nesterov does not look ahead": {_NESTEROV: "b"},
        "nesterov looks ahead by the whole momentum_buffer": {"g + momentum * b": "g + b"},
        "nesterov leaves the gradient itself out": {_NESTEROV: "momentum * b if nesterov else b"},
    },
)

_STEP = "w = w - lambd * eta * w - eta * g"
_MEAN = "w_mean = where(mu == 1, w, w_mean + mu * (w - w_mean))"
_ETA = "eta = lr / (1 + lambd * lr * t) ** alpha"
_MU = "mu = 1 / maximum(1, t - t0)"

add_mistakes(
    asgd,
    {
        **NO_MAXIMIZE,
        **PENALTY,
        "weight decay sees the weights after lambd has shrunk them": {
            "if weight_decay: g = g + weight_decay * w": "",
            _STEP: "w = w - lambd * eta * w\nw = w - eta * (g + weight_decay * w)",
        },
        "lambd does not shrink the weights": {_STEP: "w = w - eta * g"},
        "lambd shrinks the weights by lr instead of eta": {"lambd * eta * w": "lambd * lr * w"},
        "the step has lr instead of eta": {"eta * g": "lr * g"},
        "the step has the eta of this step": {_ETA: "", _STEP: f"{_ETA}\n{_STEP}"},
        "eta falls one step late": {_ETA: "eta = lr / (1 + lambd * lr * (t - 1)) ** alpha"},
        "eta falls without lambd": {_ETA: "eta = lr / (1 + lr * t) ** alpha"},
        "alpha is left out of eta": {_ETA: "eta = lr / (1 + lambd * lr * t)"},
        "averaging begins one step early": {"t - t0": "t - t0 + 1"},
        "averaging begins one step late": {"t - t0": "t - t0 - 1"},
        "averaging begins at step 1, whatever t0": {"t - t0": "t"},
        "the average has the mu of this step": {_MU: "", _MEAN: f"{_MU}\n{_MEAN}"},
        "the average is of the weights before the step": {f"{_STEP}\n{_MEAN}": f"{_MEAN}\n{_STEP}"},
        "the average stays at its start until t0": {
            _MEAN: "w_mean = where(mu == 1, w_mean, w_mean + mu * (w - w_mean))"
        },
    },
)

_CLAMP = "s = minimum(maximum(s, s_min), s_max)"
_FORGET = "g = where(change < 0, 0.0, g)"
_MOVE = "w = w - s * sign(g)"

add_mistakes(
    rprop,
    {
        **NO_MAXIMIZE,
        "the two etas are swapped": {"eta_minus, eta_plus = etas": "eta_plus, eta_minus = etas"},
        "the step sizes have no bounds": {_CLAMP: ""},
        "the step sizes have no lower bound": {_CLAMP: "s = minimum(s, s_max)"},
        "the step sizes have no upper bound": {_CLAMP: "s = maximum(s, s_min)"},
        "the step sizes have no bounds at step 1": {_CLAMP: f"if t > 1: {_CLAMP}"},
        "a weight moves although its gradient changed sign": {_FORGET: ""},
        "a gradient that changed sign is not stored as zero": {
            _FORGET: "",
            _MOVE: "w = w - s * where(change < 0, 0.0, sign(g))",
        },
        "a change of sign takes the last move back": {
            "change = sign(g * g_prev)": "change = sign(g * g_prev)\ns_prev = s",
            _MOVE: "w = where(change < 0, w + s_prev * sign(g_prev), w - s * sign(g))",
        },
        "a gradient of zero counts as a change of sign": {"change < 0": "change <= 0"},
        "a gradient of zero lets the step size grow": {"change > 0": "change >= 0"},
        "the weights move by the gradient instead of its sign": {_MOVE: "w = w - s * g"},
        "the weights move by the step size before its change": {
            "change = sign(g * g_prev)": "change = sign(g * g_prev)\ns_prev = s",
            _MOVE: "w = w - s_prev * sign(g)",
        },
    },
)
