"""Rules that follow the gradient itself: SGD, its averaged form, and the sign-based Rprop."""

from __future__ import annotations

from optitrace.functions import Number, maximum, minimum, sign, where
from optitrace.rules.hyperparameter import Detail
from optitrace.rules.mistakes import add_mistakes
from optitrace.rules.rule import StateEntry, TorchClass, rule


@rule(
    StateEntry("b", "momentum_buffer", when="momentum"),
    torch=TorchClass("SGD", implementations=("single", "foreach", "fused"), counts_steps=False),
    source="Robbins & Monro 1951; momentum: Polyak 1964; Nesterov: Sutskever et al. 2013",
    departures=(
        "The first momentum_buffer is the gradient itself, without the factor (1 - dampening).",
        "lr multiplies the whole buffer, as in Polyak; in Sutskever et al. it is inside the buffer.",
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

add_mistakes(
    sgd,
    {
        "dampening scales the old momentum_buffer": {_BUFFER: "b = momentum * (1 - dampening) * b + g"},
        "lr is inside the momentum_buffer": {
            _BUFFER: "b = lr * g if t == 1 else momentum * b + (1 - dampening) * lr * g",
            "g + momentum * b if nesterov else b": "g + momentum * b / lr if nesterov else b / lr",
        },
    },
)

_STEP = "w = w - lambd * eta * w - eta * g"
_MEAN = "w_mean + mu * (w - w_mean)"

add_mistakes(
    asgd,
    {
        "weight decay sees the weights after lambd has shrunk them": {
            "if weight_decay: g = g + weight_decay * w": "",
            _STEP: "w = w - lambd * eta * w\nw = w - eta * (g + weight_decay * w)",
        },
        "the average stays at its start until t0": {
            f"where(mu == 1, w, {_MEAN})": f"where(mu == 1, w_mean, {_MEAN})"
        },
    },
)

_CHANGE = "change = sign(g * g_prev)"
_MOVE = "w = w - s * sign(g)"

add_mistakes(
    rprop,
    {
        "a change of sign takes the last move back": {
            _CHANGE: f"{_CHANGE}\ns_prev = s",
            _MOVE: "w = where(change < 0, w + s_prev * sign(g_prev), w - s * sign(g))",
        },
        "a gradient of zero counts as a change of sign": {"change < 0": "change <= 0"},
        "the weights move by the step size before its change": {
            _CHANGE: f"{_CHANGE}\ns_prev = s",
            _MOVE: "w = w - s_prev * sign(g)",
        },
    },
)
