"""Mistakes in sgd, asgd and rprop."""

from __future__ import annotations

from optitrace.rules.mistakes.mistake import Mistake
from optitrace.rules.mistakes.shared import NO_MAXIMIZE, PENALTY

_BUFFER = "b = g if t == 1 else momentum * b + (1 - dampening) * g"
_NESTEROV = "g + momentum * b if nesterov else b"

SGD = (
    NO_MAXIMIZE,
    *PENALTY,
    Mistake(
        "weight decay comes after the step",
        {
            "if weight_decay: g = g + weight_decay * w": "",
            "w = w - lr * g": "w = w - lr * g\nw = w - lr * weight_decay * w",
        },
    ),
    Mistake("momentum is left out", {f"if momentum: {_BUFFER}; g = {_NESTEROV}": ""}),
    Mistake(
        "the first momentum_buffer is dampened",
        {_BUFFER: "b = (0 if t == 1 else momentum * b) + (1 - dampening) * g"},
    ),
    Mistake("dampening is left out", {"(1 - dampening) * g": "g"}),
    Mistake("dampening scales the old momentum_buffer", {_BUFFER: "b = momentum * (1 - dampening) * b + g"}),
    Mistake("the momentum_buffer is a running mean", {_BUFFER: "b = momentum * b + (1 - momentum) * g"}),
    Mistake(
        "lr is inside the momentum_buffer",
        {
            _BUFFER: "b = lr * g if t == 1 else momentum * b + (1 - dampening) * lr * g",
            _NESTEROV: "g + momentum * b / lr if nesterov else b / lr",
        },
    ),
    Mistake("nesterov does not look ahead", {_NESTEROV: "b"}),
    Mistake("nesterov looks ahead by the whole momentum_buffer", {"g + momentum * b": "g + b"}),
    Mistake("nesterov leaves the gradient itself out", {_NESTEROV: "momentum * b if nesterov else b"}),
)

_STEP = "w = w - lambd * eta * w - eta * g"
_MEAN = "w_mean = where(mu == 1, w, w_mean + mu * (w - w_mean))"
_ETA = "eta = lr / (1 + lambd * lr * t) ** alpha"
_MU = "mu = 1 / maximum(1, t - t0)"

ASGD = (
    NO_MAXIMIZE,
    *PENALTY,
    Mistake(
        "weight decay sees the weights after lambd has shrunk them",
        {
            "if weight_decay: g = g + weight_decay * w": "",
            _STEP: "w = w - lambd * eta * w\nw = w - eta * (g + weight_decay * w)",
        },
    ),
    Mistake("lambd does not shrink the weights", {_STEP: "w = w - eta * g"}),
    Mistake("lambd shrinks the weights by lr instead of eta", {"lambd * eta * w": "lambd * lr * w"}),
    Mistake("the step has lr instead of eta", {"eta * g": "lr * g"}),
    Mistake("the step has the eta of this step", {_ETA: "", _STEP: f"{_ETA}\n{_STEP}"}),
    Mistake("eta falls one step late", {_ETA: "eta = lr / (1 + lambd * lr * (t - 1)) ** alpha"}),
    Mistake("eta falls without lambd", {_ETA: "eta = lr / (1 + lr * t) ** alpha"}),
    Mistake("alpha is left out of eta", {_ETA: "eta = lr / (1 + lambd * lr * t)"}),
    Mistake("averaging begins one step early", {"t - t0": "t - t0 + 1"}),
    Mistake("averaging begins one step late", {"t - t0": "t - t0 - 1"}),
    Mistake("averaging begins at step 1, whatever t0", {"t - t0": "t"}),
    Mistake("the average has the mu of this step", {_MU: "", _MEAN: f"{_MU}\n{_MEAN}"}),
    Mistake("the average is of the weights before the step", {f"{_STEP}\n{_MEAN}": f"{_MEAN}\n{_STEP}"}),
    Mistake(
        "the average stays at its start until t0",
        {_MEAN: "w_mean = where(mu == 1, w_mean, w_mean + mu * (w - w_mean))"},
    ),
)

_CLAMP = "s = minimum(maximum(s, s_min), s_max)"
_FORGET = "g = where(change < 0, 0.0, g)"
_MOVE = "w = w - s * sign(g)"

RPROP = (
    NO_MAXIMIZE,
    Mistake("the two etas are swapped", {"eta_minus, eta_plus = etas": "eta_plus, eta_minus = etas"}),
    Mistake("the step sizes have no bounds", {_CLAMP: ""}),
    Mistake("the step sizes have no lower bound", {_CLAMP: "s = minimum(s, s_max)"}),
    Mistake("the step sizes have no upper bound", {_CLAMP: "s = maximum(s, s_min)"}),
    Mistake("the step sizes have no bounds at step 1", {_CLAMP: f"if t > 1: {_CLAMP}"}),
    Mistake("a weight moves although its gradient changed sign", {_FORGET: ""}),
    Mistake(
        "a gradient that changed sign is not stored as zero",
        {_FORGET: "", _MOVE: "w = w - s * where(change < 0, 0.0, sign(g))"},
    ),
    Mistake(
        "a change of sign takes the last move back",
        {
            "change = sign(g * g_prev)": "change = sign(g * g_prev)\ns_prev = s",
            _MOVE: "w = where(change < 0, w + s_prev * sign(g_prev), w - s * sign(g))",
        },
    ),
    Mistake("a gradient of zero counts as a change of sign", {"change < 0": "change <= 0"}),
    Mistake("a gradient of zero lets the step size grow", {"change > 0": "change >= 0"}),
    Mistake("the weights move by the gradient instead of its sign", {_MOVE: "w = w - s * g"}),
    Mistake(
        "the weights move by the step size before its change",
        {
            "change = sign(g * g_prev)": "change = sign(g * g_prev)\ns_prev = s",
            _MOVE: "w = w - s_prev * sign(g)",
        },
    ),
)
