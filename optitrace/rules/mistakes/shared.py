"""The mistakes that can be made in many rules."""

from __future__ import annotations

from optitrace.rules.mistakes.mistake import Mistake

_SIGN = "if maximize: g = -g"
_PENALTY = "if weight_decay: g = g + weight_decay * w"
_COUPLED = "if weight_decay and not decoupled_weight_decay: g = g + weight_decay * w"
_DECOUPLED = "if weight_decay and decoupled_weight_decay: w = w - lr * weight_decay * w"

NO_MAXIMIZE = Mistake("maximize does not turn the gradient's sign", {_SIGN: ""})

PENALTY = (
    Mistake("weight decay is left out", {_PENALTY: ""}),
    Mistake(
        "weight decay is added before maximize turns the sign",
        {_SIGN: "", _PENALTY: f"{_PENALTY}\n{_SIGN}"},
    ),
    Mistake(
        "weight decay shrinks the weights instead of joining the gradient",
        {"g = g + weight_decay * w": "w = w - lr * weight_decay * w"},
    ),
    Mistake(
        "weight decay counts twice, as if its penalty had no factor of one half",
        {"weight_decay * w": "2 * weight_decay * w"},
    ),
)
"""Mistakes in a weight decay that always joins the gradient."""

COUPLED = (
    Mistake(
        "weight decay shrinks the weights instead of joining the gradient",
        {_COUPLED: "", _DECOUPLED: "if weight_decay: w = w - lr * weight_decay * w"},
    ),
    Mistake(
        "weight decay is added before maximize turns the sign",
        {_SIGN: "", _COUPLED: f"{_COUPLED}\n{_SIGN}"},
    ),
    Mistake("weight decay is left out", {_COUPLED: "", _DECOUPLED: ""}),
)
"""Mistakes in a weight decay that joins the gradient unless it is decoupled."""


def decoupled(update: str) -> tuple[Mistake, ...]:
    """Return the mistakes in a decoupled weight decay, in a rule whose last line is `update`."""
    return (
        Mistake(
            "weight decay is not scaled by lr",
            {"w = w - lr * weight_decay * w": "w = w - weight_decay * w"},
        ),
        Mistake(
            "weight decay joins the gradient instead of shrinking the weights",
            {_COUPLED: "", _DECOUPLED: "if weight_decay: g = g + weight_decay * w"},
        ),
        Mistake(
            "weight decay comes after the step",
            {_DECOUPLED: "", update: f"{update}\n{_DECOUPLED}"},
        ),
    )


MOMENTS = (
    Mistake("the two betas are swapped", {"beta1, beta2 = betas": "beta2, beta1 = betas"}),
    Mistake("exp_avg adds the gradient without the factor 1 - beta1", {"(1 - beta1) * g": "g"}),
    Mistake(
        "exp_avg_sq adds the squared gradient without the factor 1 - beta2", {"(1 - beta2) * g**2": "g**2"}
    ),
)
"""Mistakes in the running means of the gradient and of its square."""
