"""SGD whose weight decay is decoupled from the gradient: SGDW."""

from __future__ import annotations

from optitrace.functions import (
    Number,
)
from optitrace.rules.rule import StateEntry, rule


@rule(
    StateEntry("b", "momentum_buffer", when="momentum"),
    source="Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 1",
    departures=(
        "As in timm: the decay is multiplied by lr; in the paper by the schedule of lr alone.",
        "lr multiplies the momentum; in the paper it is inside the momentum.",
        "The first momentum_buffer is the gradient itself, without the factor (1 - dampening).",
    ),
    classes=("timm.optim.SGDW", "pytorch_optimizer.SGDW"),
)
def sgdw(
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
    """SGD with decoupled weight decay."""
    if maximize:
        g = -g
    w = w - lr * weight_decay * w
    if momentum:
        b = g if t == 1 else momentum * b + (1 - dampening) * g
        g = g + momentum * b if nesterov else b
    w = w - lr * g
    return w, b
