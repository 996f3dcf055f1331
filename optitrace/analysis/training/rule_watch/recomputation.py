"""A part of a step computed anew by the rule, and how far torch is from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from optitrace.analysis.training.rule_watch.part import Part, computed
from optitrace.analysis.training.rule_watch.rounding import Rounding, roundings
from optitrace.analysis.verification.check import ALLOWED, STATE_ALLOWED
from optitrace.analysis.verification.quantities import COUNT, WEIGHTS, Found, compare, compare_count
from optitrace.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Recomputed:
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


def recompute(rule: Rule, part: Part) -> Recomputed:
    """Compute a part anew, and compare.

    The unit of an error is eps(dtype) × max(|before|, |after|). Where that is exceeded, it is asked whether
    numbers cancel, so that torch cannot have been more exact: see `roundings`.
    """
    before = {WEIGHTS: part.weights} | {
        entry.key: value for entry, value in zip(rule.state, part.state, strict=True) if value is not None
    }
    expected = computed(rule, part)
    order = [name for name in before if name in part.found and name != WEIGHTS]
    found = {
        name: compare(
            before[name],
            expected[name],
            part.found[name],
            part.dtypes[name],
            ALLOWED if name == WEIGHTS else STATE_ALLOWED,
        )
        for name in (*order, WEIGHTS)
    }
    rounding: Rounding | None = None
    if any(each.departs for each in found.values()):
        for rounding in roundings(rule, part, expected):
            found = {name: _in_larger_units(each, rounding.units.get(name)) for name, each in found.items()}
            if not any(each.departs for each in found.values()):
                break
    if COUNT in part.found:
        found[COUNT] = compare_count(part.number, part.found[COUNT])
    return Recomputed(found, rounding)


def _in_larger_units(found: Found, units: Tensor | None) -> Found:
    """Return the same with the errors in other units, where those are larger."""
    if units is None:
        return found
    distance = (found.expected - found.found).abs()
    is_larger = (units > 0) & (distance / units < found.errors)
    return replace(found, errors=torch.where(is_larger, distance / units, found.errors))
