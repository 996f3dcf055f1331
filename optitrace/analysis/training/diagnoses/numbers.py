"""The fault of numbers that are no longer finite."""

from __future__ import annotations

from collections.abc import Sequence

from optitrace.analysis.training.diagnoses.rows import largest_lr
from optitrace.analysis.training.diagnoses.wording import short
from optitrace.analysis.training.findings import Diagnosis
from optitrace.tracing.watching.training import NonFinite, OptimizerTrace


def not_finite(optimizer: OptimizerTrace) -> Diagnosis | None:
    """Look for the first number that is not finite; the later ones follow from it."""
    if not optimizer.non_finite:
        return None
    first, *later = optimizer.non_finite
    place = f", first in {first.parameter}" if first.parameter else ""
    return Diagnosis(
        fault="not finite",
        optimizer=optimizer.name,
        step=first.step,
        parameter=first.parameter,
        fact=f"step {first.step} of {optimizer.name}: the {_with_verb(first.quantity)} not finite{place}"
        f"{_followers(later)}",
        remedy=_remedy(first, optimizer),
    )


def _with_verb(quantity: str) -> str:
    if quantity == "weights":
        return "weights are"
    return f"{quantity if quantity in ('loss', 'gradient') else f'state {quantity}'} is"


def _followers(later: Sequence[NonFinite]) -> str:
    if not later:
        return ""
    steps = dict.fromkeys(one.step for one in later)
    named = [f"{_listed(later, step)} (step {step})" for step in steps]
    return f"; then {', '.join(named)}"


def _listed(later: Sequence[NonFinite], step: int) -> str:
    return ", ".join(one.quantity for one in later if one.step == step)


def _remedy(first: NonFinite, optimizer: OptimizerTrace) -> str:
    lower = f"lower the lr ({short(largest_lr(optimizer))})"
    if first.quantity == "loss":
        otherwise = f", or {lower}" if first.step > 1 else ""
        return f"look in data and forward for log(0), 0/0 or an overflow{otherwise}"
    if first.quantity == "gradient":
        return (
            "a derivative is not finite, as that of sqrt, norm or ** at 0 is; "
            "torch.autograd.set_detect_anomaly(True) names the operation"
        )
    if first.quantity == "weights":
        return f"the step overflows: {lower}, or clip the gradient"
    return "the square of a large gradient overflows: clip the gradient, or keep weights and state in float32"
