"""The one-step check: each step recomputed in float64 from what the class itself had before it.

As every step starts anew from the class's own weights and state, errors do not add up, and the check
holds in float32 as in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.verification.check import ALLOWED, STATE_ALLOWED
from optitrace.analysis.verification.quantities import COUNT, WEIGHTS, Found, compare, compare_count
from optitrace.analysis.verification.recording import RecordedRun
from optitrace.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Recomputed:
    """One step, recomputed.

    Attributes:
        number: the step, from 1.
        gradient: what the step used.
        weights_before: the weights from which both went.
        state_before: the state from which the rule went, by torch's names.
        found: weights and state after it.
    """

    number: int
    gradient: Tensor
    weights_before: Tensor
    state_before: Mapping[str, Any]
    found: Mapping[str, Found]

    @property
    def departing(self) -> list[str]:
        """The quantities that are further off than allowed."""
        return [name for name, found in self.found.items() if found.departs]


def recompute(rule: Rule, recording: RecordedRun, *, trusted: bool = True) -> Iterator[Recomputed]:
    """Yield each step of a recording with what the rule makes of it.

    State that the class does not keep under the rule's names is carried along by the rule itself, which
    it can, because the prescribed gradients do not depend on the weights.

    Args:
        rule: the rule.
        recording: what the class did.
        trusted: whether the state is the class's own where it keeps it; else all is carried along, and
            the weights alone are compared.
    """
    settings = recording.settings
    weights = recording.start
    state = first_state(rule, recording)
    for step in recording.steps:
        computed_weights, *computed = rule(weights, step.gradient, step.number, *state, **settings)
        names = {
            entry.key: value for entry, value in zip(rule.state, state, strict=True) if value is not None
        }
        found = {WEIGHTS: compare(weights, computed_weights, step.weights, recording.dtype, ALLOWED)}
        following: list[Any] = []
        for entry, before, value in zip(rule.state, state, computed, strict=True):
            if not entry.exists(settings) or not trusted or not step.keeps(entry):
                following.append(value)
                continue
            own = step.state[entry.key]
            after = own.double()
            found[entry.key] = compare(before, value, after, own.dtype, STATE_ALLOWED)
            following.append(float(after) if entry.scalar else after)
        if trusted and COUNT in step.state:
            found[COUNT] = compare_count(step.number, step.state[COUNT].double().max())
        yield Recomputed(step.number, step.gradient, weights, names, found)
        weights, state = step.weights, following


def first_state(rule: Rule, recording: RecordedRun) -> list[Any]:
    """Return the state before step 1: a Python number for a scalar, a float64 tensor for the rest."""
    values = rule.initial_state(recording.settings)
    return [
        value if value is None or entry.scalar else torch.full_like(recording.start, float(value))
        for entry, value in zip(rule.state, values, strict=True)
    ]


def agrees(rule: Rule, recordings: Sequence[RecordedRun], *, trusted: bool = True) -> bool:
    """Return whether no step of any recording departs from a rule."""
    return not any(
        step.departing for recording in recordings for step in recompute(rule, recording, trusted=trusted)
    )
