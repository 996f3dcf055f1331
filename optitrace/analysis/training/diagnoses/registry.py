"""The registry of diagnoses: how a check is declared, what it returns, and how a training is diagnosed.

A new diagnosis is a function in a module of this package; nothing else has to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar

from optitrace.analysis.training import diagnoses
from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.records.findings import Diagnosis, Severity
from optitrace.records.training import OptimizerTrace, TrainingRecord
from optitrace.text import counted

Checked = TypeVar("Checked", OptimizerTrace, TrainingRecord)


OF_AN_OPTIMIZER: list[DiagnosisCheck[OptimizerTrace]] = []
"""The checks of one optimizer, in the order of declaration."""

OF_A_TRAINING: list[DiagnosisCheck[TrainingRecord]] = []
"""The checks of a whole training, in the order of declaration."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding of a check: a `Diagnosis` without the name of its fault.

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
        summary: the fault in one sentence.
        check: finds the fault in one optimizer, or in a whole training.
        undecided: returns the part that too few steps leave undecided, in words; empty if none.
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


def of_an_optimizer(
    fault: str, order: int, undecided: Callable[[OptimizerTrace], str] = lambda optimizer: ""
) -> Callable[[_Check[OptimizerTrace]], _Check[OptimizerTrace]]:
    """Declare a check of each optimizer for a fault; the docstring begins with a summary."""
    return _adding_to(OF_AN_OPTIMIZER, fault, order, undecided)


def of_a_training(fault: str, order: int) -> Callable[[_Check[TrainingRecord]], _Check[TrainingRecord]]:
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


def short(number: float) -> str:
    """Return a number with two digits.

    >>> short(0.000123), short(1.0), short(12.3), short(1234.0)
    ('0.00012', '1', '12', '1200')
    """
    text = f"{number:.2g}"
    return f"{float(text):.0f}" if 100 <= abs(number) < 1e5 else text


def times(factor: float) -> str:
    """Return a factor in words of two digits.

    >>> times(1.25), times(99.99), times(12345.0)
    ('1.2', '100', '12,000')
    """
    return f"{float(f'{factor:.2g}'):,.0f}" if factor >= 10 else short(factor)


def share_of_steps(count: int, taken: int) -> str:
    """Return the number of steps out of all, in words.

    >>> share_of_steps(1, 20), share_of_steps(1, 1)
    ('1 of 20 steps', '1 of 1 step')
    """
    return f"{count} of {counted(taken, 'step')}"


def diagnose(training: TrainingRecord) -> tuple[Diagnosis, ...]:
    """Return the faults of a training in the order of their steps, those of no step last, then the remarks.

    They follow from the values of the training alone, so that a saved training has the same as a new one.
    """
    of_an_optimizer, of_a_training = diagnosis_checks()
    found = [
        _diagnosis(each, finding, optimizer.name)
        for optimizer in training.optimizers
        for each in of_an_optimizer
        for finding in each.check(optimizer)
    ]
    found += [
        _diagnosis(each, finding, finding.optimizer)
        for each in of_a_training
        for finding in each.check(training)
    ]
    return tuple(sorted(found, key=_place))


def without_allowed(diagnoses: Iterable[Diagnosis], allowed: Sequence[str]) -> tuple[Diagnosis, ...]:
    """Return the diagnoses that are not allowed.

    Args:
        diagnoses: those that were found.
        allowed: codes, as ``lost-update``, or codes with a pattern that the optimizer or a parameter that has
            it matches, as ``lost-update:head.*``.
    """
    return tuple(found for found in diagnoses if not any(_allows(text, found) for text in allowed))


def check_allowed(allowed: Sequence[str]) -> None:
    """Check that each text allows a diagnosis that there is.

    Raises:
        UsageError: one names none.
    """
    codes = [check.code for checks in diagnosis_checks() for check in checks]
    for text in allowed:
        code = text.partition(":")[0]
        if code not in codes:
            guess = did_you_mean(code, codes) or "."
            raise UsageError(
                f"--allow {quoted(code)} is no diagnosis{guess} 'optitrace list --diagnoses' shows all."
            )


def unjudged(training: TrainingRecord) -> str:
    """Return the part that too few steps leave undecided, in words; empty if none.

    It is of the first optimizer that has too few recorded steps.
    """
    of_an_optimizer, _ = diagnosis_checks()
    for optimizer in training.optimizers:
        unknown = list(filter(None, (each.undecided(optimizer) for each in of_an_optimizer)))
        if unknown:
            of = f" of {optimizer.name}" if len(training.optimizers) > 1 else ""
            recorded = "" if len(optimizer.steps) == optimizer.steps_seen else "recorded "
            steps = counted(len(optimizer.steps), f"{recorded}step")
            return f"{steps}{of}: too few to judge {' and '.join(unknown)}"
    return ""


@cache
def diagnosis_checks() -> tuple[list[DiagnosisCheck[OptimizerTrace]], list[DiagnosisCheck[TrainingRecord]]]:
    """Return the checks of one optimizer and those of a whole training, each in their order."""
    for module in iter_modules(diagnoses.__path__, f"{diagnoses.__name__}."):
        import_module(module.name)
    return sorted(OF_AN_OPTIMIZER, key=lambda c: c.order), sorted(OF_A_TRAINING, key=lambda c: c.order)


def _allows(text: str, found: Diagnosis) -> bool:
    code, _, pattern = text.partition(":")
    names = (found.optimizer, *found.parameters)
    return code == found.code and (not pattern or any(fnmatchcase(name, pattern) for name in names))


def _diagnosis(check: DiagnosisCheck[Any], found: Finding, optimizer: str) -> Diagnosis:
    named = () if found.parameter is None else (found.parameter,)
    return Diagnosis(
        check.fault,
        optimizer,
        found.step,
        found.parameter,
        found.fact,
        found.remedy,
        found.severity,
        check.code,
        found.count,
        found.parameters or named,
        found.numbers,
    )


def _place(diagnosis: Diagnosis) -> tuple[bool, bool, int]:
    return not diagnosis.is_fault, diagnosis.step is None, diagnosis.step or 0
