"""The registry of diagnoses: what a check returns, and how it is declared.

A new diagnosis is a function in a module of this package; nothing else has to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from optitrace.records.findings import Severity
from optitrace.records.training import OptimizerTrace, Training

Checked = TypeVar("Checked", OptimizerTrace, Training)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found: a `Diagnosis` without the name of its fault.

    Attributes:
        fact: what was recorded, with step, parameter and number; a clause without a period.
        remedy: the likely cause and what to do; a clause without a period.
        step: the first step concerned; None if it is about no single step.
        parameter: the first parameter concerned; None if it is about none.
        severity: whether something is wrong, or only worth knowing.
        optimizer: the name of the optimizer concerned, in a check of a whole training.
        count: in how many steps it was seen; None if they were not counted.
        parameters: all parameters concerned; the first alone if none is given.
        numbers: what the fact says in numbers, by name.
    """

    fact: str
    remedy: str
    step: int | None = None
    parameter: str | None = None
    severity: Severity = "fault"
    optimizer: str = ""
    count: int | None = None
    parameters: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DiagnosisCheck(Generic[Checked]):
    """A registered check.

    Attributes:
        fault: the name of the fault that it finds.
        order: its place among faults that begin in the same step; likelier causes have smaller numbers.
        summary: what it looks for, in one sentence.
        check: finds the fault in one optimizer, or in a whole training.
        undecided: what there are too few steps to judge, in words; empty if there are enough.
    """

    fault: str
    order: int
    summary: str
    check: Callable[[Checked], Iterable[Finding]]
    undecided: Callable[[Checked], str]

    @property
    def code(self) -> str:
        """What `--allow` takes for it: ``stale-gradient``."""
        return self.fault.replace(" ", "-")


OF_AN_OPTIMIZER: list[DiagnosisCheck[OptimizerTrace]] = []
"""The checks of one optimizer, as they were declared."""

OF_A_TRAINING: list[DiagnosisCheck[Training]] = []
"""The checks for which one optimizer is not enough, as they were declared."""


def of_an_optimizer(
    fault: str, order: int, undecided: Callable[[OptimizerTrace], str] = lambda optimizer: ""
) -> Callable[[_Check[OptimizerTrace]], _Check[OptimizerTrace]]:
    """Declare a check of each optimizer for a fault; the docstring begins with a summary."""
    return _adding_to(OF_AN_OPTIMIZER, fault, order, undecided)


def of_a_training(fault: str, order: int) -> Callable[[_Check[Training]], _Check[Training]]:
    """Declare a check of a training for a fault; the docstring begins with a summary."""
    return _adding_to(OF_A_TRAINING, fault, order, lambda training: "")


_Check = Callable[[Checked], Iterator[Finding]]


def _adding_to(
    checks: list[DiagnosisCheck[Checked]], fault: str, order: int, undecided: Callable[[Checked], str]
) -> Callable[[_Check[Checked]], _Check[Checked]]:
    def add(check: _Check[Checked]) -> _Check[Checked]:
        summary = (check.__doc__ or "").partition("\n")[0]
        checks.append(DiagnosisCheck(fault, order, summary, check, undecided))
        return check

    return add
