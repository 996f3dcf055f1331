"""The faults of a training, found by the checks that the modules of this package declare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from optitrace.analysis.training import diagnoses
from optitrace.analysis.training.diagnoses.registry import (
    OF_A_TRAINING,
    OF_AN_OPTIMIZER,
    DiagnosisCheck,
    Finding,
)
from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.records.findings import Diagnosis
from optitrace.records.training import OptimizerTrace, Training
from optitrace.text.number_format import counted


def diagnose(training: Training) -> tuple[Diagnosis, ...]:
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


def unjudged(training: Training) -> str:
    """Return what the steps of a training are too few to judge, in words; empty if there is nothing.

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
def diagnosis_checks() -> tuple[list[DiagnosisCheck[OptimizerTrace]], list[DiagnosisCheck[Training]]]:
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
