"""Mistakes in muon."""

from __future__ import annotations

from optitrace.rules.mistakes.mistake import Mistake

_COEFFICIENTS = "a, b, c = float32(ns_coefficients)"
_BUFFER = "m = momentum * m + (1 - momentum) * g"
_LOOK = "x = bfloat16(momentum * m + (1 - momentum) * g if nesterov else m)"
_NORMALIZE = "x = bfloat16(x / bfloat16(maximum(norm(x), eps)))"
_DECAY = "if weight_decay: w = w - lr * weight_decay * w"
_STEP = "w = w - lr * ratio * x"

MUON = (
    Mistake(
        "the momentum_buffer adds the gradient without the factor 1 - momentum",
        {_BUFFER: "m = momentum * m + g", _LOOK: "x = bfloat16(momentum * m + g if nesterov else m)"},
    ),
    Mistake("momentum is left out", {_LOOK: "x = bfloat16(g)"}),
    Mistake("nesterov does not look ahead", {_LOOK: "x = bfloat16(m)"}),
    Mistake("a tall matrix is not transposed", {"if rows(w) > columns(w): x = transpose(x)": ""}),
    Mistake("the momentum is not normalized", {_NORMALIZE: ""}),
    Mistake("eps is added to the norm", {"maximum(norm(x), eps)": "norm(x) + eps"}),
    Mistake("eps is left out", {"maximum(norm(x), eps)": "norm(x)"}),
    Mistake(
        "one Newton-Schulz iteration is missing",
        {_COEFFICIENTS: f"{_COEFFICIENTS}\nns_steps = ns_steps - 1"},
    ),
    Mistake("the Newton-Schulz iteration lacks its fifth power", {"b * gram + c * gram @ gram": "b * gram"}),
    Mistake("the Newton-Schulz iteration lacks its linear term", {"a * x + update @ x": "update @ x"}),
    Mistake(
        "the Newton-Schulz coefficients are in the opposite order",
        {_COEFFICIENTS: "c, b, a = float32(ns_coefficients)"},
    ),
    Mistake(
        "Newton-Schulz runs in the dtype of the weights",
        {
            _LOOK: _LOOK.replace("bfloat16", ""),
            _NORMALIZE: _NORMALIZE.replace("bfloat16", ""),
            "bfloat16(x @ transpose(x))": "x @ transpose(x)",
            "bfloat16(b * gram + c * gram @ gram)": "b * gram + c * gram @ gram",
            "bfloat16(a * x + update @ x)": "a * x + update @ x",
        },
    ),
    Mistake("lr is not adjusted to the shape", {_STEP: "w = w - lr * x"}),
    Mistake(
        "rows and columns are swapped in the adjustment of lr",
        {"rows(w) / columns(w)": "columns(w) / rows(w)"},
    ),
    Mistake("a wide matrix has its lr reduced", {"maximum(1, rows(w) / columns(w))": "rows(w) / columns(w)"}),
    Mistake(
        "match_rms_adamw lacks its factor of 0.2",
        {"0.2 * sqrt(maximum(rows(w), columns(w)))": "sqrt(maximum(rows(w), columns(w)))"},
    ),
    Mistake(
        "match_rms_adamw has the smaller side of the matrix",
        {"maximum(rows(w), columns(w))": "minimum(rows(w), columns(w))"},
    ),
    Mistake("weight decay is left out", {_DECAY: ""}),
    Mistake("weight decay is not scaled by lr", {"lr * weight_decay * w": "weight_decay * w"}),
    Mistake(
        "weight decay is scaled by the adjusted lr",
        {"lr * weight_decay * w": "lr * ratio * weight_decay * w"},
    ),
    Mistake(
        "weight decay joins the gradient instead of shrinking the weights",
        {_DECAY: "", _BUFFER: f"g = g + weight_decay * w\n{_BUFFER}"},
    ),
    Mistake("weight decay comes after the step", {_DECAY: "", _STEP: f"{_STEP}\n{_DECAY}"}),
)
