"""Rules that turn a matrix of momentum into its nearest orthogonal one: Muon, in three scales."""

from __future__ import annotations

from typing import Literal

from optitrace.functions import (
    Matrix,
    Number,
    bfloat16,
    columns,
    float32,
    maximum,
    norm,
    rows,
    sqrt,
    transpose,
)
from optitrace.rules.hyperparameter import Detail
from optitrace.rules.mistakes import add_mistakes
from optitrace.rules.rule import StateEntry, TorchClass, rule, variant

DETAILS = {"weight_decay": Detail("Decoupled weight decay."), "ns_steps": Detail(minimum=0, maximum=99)}


@rule(
    StateEntry("m", "momentum_buffer"),
    torch=TorchClass("Muon", implementations=("single",), counts_steps=False),
    source="Jordan et al. 2024, kellerjordan.github.io/posts/muon",
    departures=(
        "The momentum is a running mean, with the factor (1 - momentum); Jordan et al. add the gradient.",
        "weight_decay and adjust_lr_fn are those of Liu et al. 2025, arXiv:2502.16982.",
        "The orthogonalization is computed in bfloat16, whatever the dtype of the weights.",
    ),
    details=DETAILS,
)
def muon(
    w: Matrix,
    g: Matrix,
    t: int,
    m: Matrix,
    *,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
) -> tuple[Number, ...]:
    """Momentum made orthogonal by Newton-Schulz iterations, for matrices."""
    a, b, c = float32(ns_coefficients)
    m = momentum * m + (1 - momentum) * g
    x = bfloat16(momentum * m + (1 - momentum) * g if nesterov else m)
    if rows(w) > columns(w):
        x = transpose(x)
    x = bfloat16(x / bfloat16(maximum(norm(x), eps)))
    for _ in range(ns_steps):
        gram = bfloat16(x @ transpose(x))
        update = bfloat16(b * gram + c * gram @ gram)
        x = bfloat16(a * x + update @ x)
    if rows(w) > columns(w):
        x = transpose(x)
    if adjust_lr_fn == "match_rms_adamw":
        ratio = 0.2 * sqrt(maximum(rows(w), columns(w)))
    else:
        ratio = sqrt(maximum(1, rows(w) / columns(w)))
    if weight_decay:
        w = w - lr * weight_decay * w
    w = w - lr * ratio * x
    return w, m


_LOOK = "x = bfloat16(momentum * m + (1 - momentum) * g if nesterov else m)"
_NORMALIZE = "x = bfloat16(x / bfloat16(maximum(norm(x), eps)))"

add_mistakes(
    muon,
    {
        "the momentum_buffer adds the gradient without the factor 1 - momentum": {
            "m = momentum * m + (1 - momentum) * g": "m = momentum * m + g",
            _LOOK: "x = bfloat16(momentum * m + g if nesterov else m)",
        },
        "momentum is left out": {_LOOK: "x = bfloat16(g)"},
        "Newton-Schulz runs in the dtype of the weights": {
            _LOOK: _LOOK.replace("bfloat16", ""),
            _NORMALIZE: _NORMALIZE.replace("bfloat16", ""),
            "bfloat16(x @ transpose(x))": "x @ transpose(x)",
            "bfloat16(b * gram + c * gram @ gram)": "b * gram + c * gram @ gram",
            "bfloat16(a * x + update @ x)": "a * x + update @ x",
        },
        "rows and columns are swapped in the adjustment of lr": {
            "rows(w) / columns(w)": "columns(w) / rows(w)"
        },
        "weight decay is scaled by the adjusted lr": {
            "lr * weight_decay * w": "lr * ratio * weight_decay * w"
        },
    },
)


def _scaled_muon(
    w: Matrix,
    g: Matrix,
    t: int,
    m: Matrix,
    *,
    lr: float = 0.02,
    weight_decay: float = 0.0,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    ns_steps: int = 5,
    averages: bool = True,
    matches_adamw: bool = False,
) -> tuple[Number, ...]:
    a, b, c = float32(ns_coefficients)
    m = momentum * m + (1 - momentum) * g if averages else momentum * m + g
    if nesterov:
        x = bfloat16(momentum * m + (1 - momentum) * g if averages else momentum * m + g)
    else:
        x = bfloat16(m)
    if rows(w) > columns(w):
        x = transpose(x)
    x = bfloat16(x / bfloat16(bfloat16(norm(x)) + 1e-7))
    for _ in range(ns_steps):
        gram = bfloat16(x @ transpose(x))
        update = bfloat16(bfloat16(b * gram) + bfloat16(bfloat16(c * gram) @ gram))
        x = bfloat16(bfloat16(a * x) + bfloat16(update @ x))
    if rows(w) > columns(w):
        x = transpose(x)
    if matches_adamw:
        x = 0.2 * sqrt(maximum(rows(w), columns(w))) * x
    else:
        x = bfloat16(sqrt(maximum(1, rows(w) / columns(w))) * x)
    w = w - lr * weight_decay * w
    w = w - lr * x
    return w, m


muon_jordan = variant(
    rule(StateEntry("m", "momentum_buffer"))(_scaled_muon),
    "muon_jordan",
    "Muon in Jordan's scale: a step of about the same spectral norm for every shape",
    source="Jordan et al. 2024, kellerjordan.github.io/posts/muon",
    departures=(
        "The momentum is a running mean, with the factor (1 - momentum); in the post the gradient is added.",
        "A tall matrix takes steps longer by the root of rows over columns.",
        "1e-7 is added to the norm; torch bounds the norm by eps from below.",
        "The orthogonalization is computed in bfloat16, whatever the dtype of the weights.",
    ),
    classes=("muon.SingleDeviceMuon",),
    details=DETAILS,
    fixed={"averages": True, "matches_adamw": False, "nesterov": True},
)

muon_moonlight = variant(
    muon_jordan,
    "muon_moonlight",
    "Muon in Moonlight's scale: a step of the size of AdamW's",
    source="Liu et al. 2025, arXiv:2502.16982, algorithm 1",
    departures=(
        "The authors' setting for weight_decay is wd.",
        "The step is 0.2 sqrt(max(rows, columns)) times the orthogonal matrix, and the decay is not scaled.",
        "The orthogonalization is computed in bfloat16, whatever the dtype of the weights.",
    ),
    classes=(),
    fixed={"averages": False, "matches_adamw": True},
    defaults={"lr": 1e-3, "weight_decay": 0.1},
)
