"""What a class did on prescribed gradients, step by step: what rules are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.verification.subject import Configuration, Subject
from optitrace.rules.discriminating_cases import STEPS
from optitrace.rules.rule import Implementation, StateEntry
from optitrace.tracing.prescribed_run import PrescribedRun


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        number: from 1.
        gradient: what it used, float64.
        weights: what it left, float64, of the gradient's shape.
        state: what it left in the state, in the dtypes of the class.
    """

    number: int
    gradient: Tensor
    weights: Tensor
    state: Mapping[str, Tensor]

    def keeps(self, entry: StateEntry) -> bool:
        """Return whether the class keeps an entry of a rule's state, in the form that the rule has it."""
        found = self.state.get(entry.key)
        return found is not None and (
            found.numel() == 1 if entry.scalar else found.shape == self.weights.shape
        )


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run.

    Attributes:
        configuration: what was run.
        dtype: of the weights.
        start: the weights before step 1, float64.
        steps: the steps.
    """

    configuration: Configuration
    dtype: torch.dtype
    start: Tensor
    steps: tuple[Step, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """The rule's hyperparameters, with the numbers that they stand for in this dtype."""
        return in_numbers(self.configuration.settings, self.dtype)


def in_numbers(settings: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return a rule's hyperparameters with the numbers that they stand for in a dtype of weights.

    A rule is computed in float64 whatever the dtype of the run, so adafactor's eps of none, which
    stands for the dtype's machine epsilon, must be said here.
    """
    match settings.get("eps"):
        case (None, second):
            return {**settings, "eps": (torch.finfo(dtype).eps, second)}
    return dict(settings)


def record(
    subject: Subject,
    configuration: Configuration,
    *,
    implementation: Implementation = "single",
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> RecordedRun:
    """Run a subject on the telling gradients.

    Raises:
        Exception: whatever the class raises.
    """
    flags: dict[str, bool] = {
        flag: flag == implementation for flag in subject.implementations if flag != "single"
    }
    bench = PrescribedRun(
        subject.optimizer_class,
        {**configuration.arguments, **flags},
        [configuration.shape],
        dtype=dtype,
        device=device,
        is_sparse=subject.is_sparse,
    )
    [start] = bench.snapshot()
    steps = []
    for number in range(1, STEPS + 1):
        [gradient] = bench.step()
        [weights] = bench.snapshot()
        state = {key: value.cpu() for key, value in bench.state().items()}
        steps.append(Step(number, gradient.double().cpu(), weights.double().cpu(), state))
    return RecordedRun(configuration, dtype, start.double().cpu(), tuple(steps))
