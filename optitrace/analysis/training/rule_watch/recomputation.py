"""A part of a step computed anew by the rule, and how far torch is from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from optitrace.analysis.training.rule_watch.rounding_bounds import Rounding, in_weights_dtype, roundings
from optitrace.analysis.training.rule_watch.rule_inputs import RuleInputs, computed
from optitrace.analysis.verification.check import ALLOWED, STATE_ALLOWED
from optitrace.analysis.verification.quantities import COUNT, WEIGHTS, Found, compare, compare_count
from optitrace.experiment.float_formats import dtype_name
from optitrace.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class RecomputedSample:
    """A part of a step, recomputed.

    Attributes:
        found: the state and, last, the weights after it, which are the state's consequence.
        rounding: what had to be taken into account; None if nothing had to.
    """

    found: Mapping[str, Found]
    rounding: Rounding | None

    @property
    def departing(self) -> list[str]:
        """The quantities that are further off than allowed."""
        return [name for name, found in self.found.items() if found.departs]


def recompute(rule: Rule, part: RuleInputs) -> RecomputedSample:
    """Compute a part anew, and compare.

    The unit of an error is eps(dtype) × max(|before|, |after|). Where that is exceeded, it is asked whether
    numbers cancel, so that torch cannot have been more exact: see `roundings`.
    """
    before, expected = _before(rule, part), computed(rule, part)
    found = {
        name: compare(before[name], expected[name], part.found[name], part.dtypes[name], _allowed(name))
        for name in before
        if name in part.found
    }
    rounding = _leave_out_of_range(rule, part, found)
    if any(each.departs for each in found.values()):
        for rounding in roundings(rule, part, expected):
            found = {name: _in_larger_units(each, rounding.units.get(name)) for name, each in found.items()}
            if not any(each.departs for each in found.values()):
                break
    if COUNT in part.found:
        found[COUNT] = compare_count(int(part.number), part.found[COUNT])
    return RecomputedSample(found, rounding)


def _leave_out_of_range(rule: Rule, part: RuleInputs, found: dict[str, Found]) -> Rounding | None:
    """Count as no error where torch has no finite number, and the rule in the dtype of the weights neither.

    Returns:
        What is to be said of that; None if there is no such number.
    """
    if all(bool(each.found.isfinite().all()) for each in found.values()):
        return None
    dtype = part.dtypes[WEIGHTS]
    in_dtype = computed(rule, in_weights_dtype(part, dtype))
    is_any = False
    for name, each in found.items():
        neither = ~(each.found.isfinite() | torch.as_tensor(in_dtype[name]).isfinite())
        is_any = is_any or bool(neither.any())
        found[name] = replace(each, errors=torch.where(neither, 0.0, each.errors))
    note = f"{dtype_name(dtype)}, in which a number of the rule is not finite"
    return Rounding({}, note) if is_any else None


def worst_of_all(rule: Rule, parts: Sequence[RuleInputs]) -> tuple[float, float] | None:
    """Return the error of some parts that takes up most of what is allowed, and what is; None if any departs.

    It comes to what `recompute` finds of each, but compares all of them at once.
    """
    columns: dict[tuple[str, torch.dtype], list[tuple[Tensor, ...]]] = {}
    for part in parts:
        state, new = _before(rule, part), computed(rule, part)
        if COUNT in part.found:
            return None
        for name in state.keys() & part.found.keys():
            value = torch.as_tensor(new[name], dtype=torch.float64).expand_as(state[name])
            columns.setdefault((name, part.dtypes[name]), []).append((state[name], value, part.found[name]))
    worst = 0.0, ALLOWED
    for (name, dtype), rows in columns.items():
        before, expected, found = map(torch.cat, zip(*rows, strict=True))
        compared = compare(before, expected, found, dtype, _allowed(name))
        if compared.departs:
            return None
        worst = max(worst, (compared.worst, compared.allowed), key=lambda each: each[0] / each[1])
    return worst


def _before(rule: Rule, part: RuleInputs) -> dict[str, Tensor]:
    """Return the state that there is and the weights before a step, in this order."""
    entries = zip(rule.state, part.state, strict=True)
    return {entry.key: value for entry, value in entries if value is not None} | {WEIGHTS: part.weights}


def _allowed(name: str) -> float:
    return ALLOWED if name == WEIGHTS else STATE_ALLOWED


def _in_larger_units(found: Found, units: Tensor | None) -> Found:
    """Return the same with the errors in other units, where those are larger."""
    if units is None:
        return found
    distance = (found.expected - found.found).abs()
    is_larger = (units > 0) & (distance / units < found.errors)
    return replace(found, errors=torch.where(is_larger, distance / units, found.errors))
