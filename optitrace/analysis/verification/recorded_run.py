"""A recorded run of a class on prescribed gradients, and how it compares with a rule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.verification.step_check import (
    COUNT,
    WEIGHTS,
    CheckedStep,
    StepInputs,
    check_step,
    numbers_in,
)
from optitrace.analysis.verification.subject import Configuration, Subject
from optitrace.rules.discriminating_cases import STEPS
from optitrace.rules.rule import Implementation, Rule, StateEntry
from optitrace.tracing.prescribed_run import PrescribedRun


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One step of a run.

    Attributes:
        number: from 1.
        gradient: used by the step, float64.
        weights: after the step, float64, of the gradient's shape.
        state: after the step, in the dtypes of the class.
    """

    number: int
    gradient: Tensor
    weights: Tensor
    state: Mapping[str, Tensor]

    def kept(self, entry: StateEntry, settings: Mapping[str, Any]) -> Tensor | None:
        """Return what the class keeps as an entry of a rule's state, in the rule's shape; None if nothing.

        The class may have the numbers in a row, or one number in any form.
        """
        found = self.state.get(entry.key)
        if found is None or not entry.exists(settings):
            return None
        shape = entry.dimensions(self.weights.shape)
        is_flat = found.numel() == math.prod(shape) and (found.ndim == 1 or entry.scalar)
        return found.reshape(shape) if is_flat or found.shape == shape else None


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """All steps of a run.

    Attributes:
        configuration: what was run.
        dtype: of the weights.
        start: the weights before step 1, float64.
        steps: the steps.
    """

    configuration: Configuration
    dtype: torch.dtype
    start: Tensor
    steps: tuple[RecordedStep, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """The rule's hyperparameters, with the numbers that they stand for in this dtype."""
        return numbers_in(self.configuration.settings, self.dtype)


def record(
    subject: Subject,
    configuration: Configuration,
    *,
    implementation: Implementation = "single",
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> RecordedRun:
    """Run a subject on the prescribed gradients.

    Raises:
        Exception: whatever the class raises.
    """
    flags: dict[str, bool] = {
        flag: flag == implementation for flag in subject.implementations if flag != "single"
    }
    run = PrescribedRun(
        subject.optimizer_class,
        {**configuration.arguments, **flags},
        [configuration.shape],
        dtype=dtype,
        device=device,
        is_sparse=subject.is_sparse,
    )
    of_group = [entry.key for entry in subject.rule.state if entry.shape == "group"]
    [start] = run.snapshot()
    steps = []
    for number in range(1, STEPS + 1):
        [gradient] = run.step()
        [weights] = run.snapshot()
        state = {key: value.cpu() for key, value in run.state(of_group=of_group).items()}
        steps.append(RecordedStep(number, gradient.double().cpu(), weights.double().cpu(), state))
    return RecordedRun(configuration, dtype, start.double().cpu(), tuple(steps))


def recompute(rule: Rule, run: RecordedRun, *, trusted: bool = True) -> Iterator[CheckedStep]:
    """Yield each step of a run, checked.

    State that the class does not keep under the rule's names is carried along by the rule itself, which
    it can, because the prescribed gradients do not depend on the weights.

    Args:
        rule: the rule.
        run: what the class did.
        trusted: whether to use and compare the state that the class keeps; else all state is carried along,
            and only the weights are compared.
    """
    settings = run.settings
    weights, state = run.start, _first_state(rule, run)
    for step in run.steps:
        kept = {e.key: found for e in rule.state if trusted and (found := step.kept(e, settings)) is not None}
        after = {key: found.double() for key, found in kept.items()} | {WEIGHTS: step.weights}
        if trusted and COUNT in step.state:
            after[COUNT] = step.state[COUNT].double().max()
        dtypes = {key: found.dtype for key, found in kept.items()} | {WEIGHTS: run.dtype}
        inputs = StepInputs(step.number, weights, step.gradient, tuple(state), settings, after, dtypes)
        checked = check_step(rule, inputs)
        yield checked
        weights = step.weights
        following = {**checked.expected, **after}
        state = [
            float(following[e.key]) if e.key in kept and e.scalar else following[e.key] for e in rule.state
        ]


def agrees(rule: Rule, runs: Sequence[RecordedRun], *, trusted: bool = True) -> bool:
    """Return whether no step of any run departs from a rule."""
    return not any(step.departing for run in runs for step in recompute(rule, run, trusted=trusted))


def run_error(rule: Rule, run: RecordedRun) -> float:
    """Return the largest relative error, in weights and state, of a rule that runs by itself from the start.

    The error of a vector is relative to its largest entry. The gradients are prescribed, so errors grow by
    rounding alone.
    """
    settings = run.settings
    weights, state = run.start, _first_state(rule, run)
    worst = 0.0
    for step in run.steps:
        weights, *state = rule(weights, step.gradient, step.number, *state, **settings)  # type: ignore[assignment]
        worst = max(worst, _relative(weights, step.weights))
        for entry, value in zip(rule.state, state, strict=True):
            if (found := step.kept(entry, settings)) is not None:
                worst = max(worst, _relative(value, found.double()))
    return worst


def _first_state(rule: Rule, run: RecordedRun) -> list[Any]:
    """Return the state before step 1: a Python number for a scalar, a float64 tensor for the rest."""
    values, shape = rule.initial_state(run.settings), run.start.shape
    return [
        value if value is None or entry.scalar else run.start.new_full(entry.dimensions(shape), float(value))
        for entry, value in zip(rule.state, values, strict=True)
    ]


def _relative(computed: object, found: Tensor) -> float:
    difference = float((torch.as_tensor(computed, dtype=torch.float64) - found).abs().max())
    largest = float(found.abs().max())
    if math.isnan(difference):
        return math.inf
    return 0.0 if difference == 0 else difference / max(largest, torch.finfo(torch.float64).tiny)
