"""The whole-run check: the rule runs by itself, and must end up where the class does."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from optitrace.analysis.verification.one_step import first_state
from optitrace.analysis.verification.recording import RecordedRun
from optitrace.rules.rule import Rule


def run_error(rule: Rule, recording: RecordedRun) -> float:
    """Return the largest relative error of a rule's own run, in the weights and the state of any step.

    The error of a vector is relative to its largest entry. The gradients are prescribed, so that no
    error feeds on itself; it grows by rounding alone.
    """
    settings = recording.settings
    weights, state = recording.start, first_state(rule, recording)
    worst = 0.0
    for step in recording.steps:
        weights, *state = rule(weights, step.gradient, step.number, *state, **settings)  # type: ignore[assignment]
        worst = max(worst, _relative(weights, step.weights))
        for entry, value in zip(rule.state, state, strict=True):
            if entry.exists(settings) and step.keeps(entry):
                worst = max(worst, _relative(value, step.state[entry.key].double()))
    return worst


def _relative(computed: object, found: Tensor) -> float:
    difference = float((torch.as_tensor(computed, dtype=torch.float64) - found).abs().max())
    largest = float(found.abs().max())
    if math.isnan(difference):
        return math.inf
    return 0.0 if difference == 0 else difference / max(largest, torch.finfo(torch.float64).tiny)
