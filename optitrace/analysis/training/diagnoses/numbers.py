"""The fault of numbers that are not finite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer, short
from optitrace.analysis.training.diagnoses.rows import largest_lr, number
from optitrace.records.training import NonFinite, OptimizerTrace

GROWTH = 100
"""The growth of weights since the first row that counts as divergence."""


@of_an_optimizer("not finite", 60)
def not_finite(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """The first number that is not finite; later ones follow from it."""
    if not optimizer.non_finite:
        return
    first, *later = optimizer.non_finite
    place = f", first in {first.parameter}" if first.parameter else ""
    yield Finding(
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
    if first.quantity == "loss":
        return f"look in data and forward for log(0), 0/0 or an overflow{_growth(optimizer, first.step)}"
    if first.quantity == "gradient":
        return (
            "a derivative is not finite, as that of sqrt, norm or ** at 0 is; "
            "torch.autograd.set_detect_anomaly(True) names the operation"
        )
    if first.cause:
        return f"{first.cause}; {first.remedy}" if first.remedy else first.cause
    where = f" '{first.parameter}'" if first.parameter else ""
    return f"the gradient of that step is finite; --watch{where} --from {max(1, first.step - 1)} shows more"


def _growth(optimizer: OptimizerTrace, step: int) -> str:
    """Return the remedy for weights that have grown before a step; empty if they have not."""
    rows = [row for row, each in enumerate(optimizer.steps) if each < step]
    norms = [number(optimizer, "weight_norm", row) for row in rows]
    if not norms or not norms[-1] > GROWTH * norms[0]:
        return ""
    grown = f"from norm {short(norms[0])} to {short(norms[-1])}"
    return f"; before it the weights grew {grown}: lower the lr ({short(largest_lr(optimizer))})"
