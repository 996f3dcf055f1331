"""Verifying: optimizers held against their rules, and classes of one's own against what holds for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from optitrace.analysis.verification.agreement import check_subject, likely_causes_of
from optitrace.analysis.verification.check import Check, Conformance, Verdict, Verification
from optitrace.analysis.verification.conformance import conform
from optitrace.analysis.verification.guard import ProcessGuard
from optitrace.analysis.verification.scope import Scope
from optitrace.analysis.verification.separate_process import Report
from optitrace.analysis.verification.subject import Subject, subject_of, subject_of_own
from optitrace.errors import UsageError
from optitrace.experiment.own_class import OwnClass
from optitrace.rules.optimizer import Optimizer as CatalogueEntry
from optitrace.rules.rule import Implementation, Rule
from optitrace.tracing.devices import choose_device, one_thread, open_device
from optitrace.tracing.stepping import absence


@dataclass(frozen=True, slots=True)
class Own:
    """A class of one's own, and how it is called.

    Attributes:
        own: the class.
        given: hyperparameters that are to have these values.
        rule: what it is to do; None if that is not known.
        guard: what it is run by.
    """

    own: OwnClass
    given: Mapping[str, Any]
    rule: Rule | None
    guard: ProcessGuard = field(default_factory=ProcessGuard)

    @property
    def guarded(self) -> OwnClass:
        """The class as the guard lets it run."""
        return self.guard.guarded(self.own)


def verify(
    optimizers: Sequence[CatalogueEntry],
    classes: Sequence[Own],
    scope: Scope,
    report: Report = lambda done, of, what: None,
) -> Verification:
    """Hold optimizers of torch against their rules, and classes of one's own against what they are to do.

    Args:
        optimizers: of torch; one that has no rule, or that the installed torch lacks, is listed as such.
        classes: each is held against its rule, if it has one, and against what every good optimizer does.
        scope: in what ways.
        report: told of the progress.

    Raises:
        UsageError: a class cannot be called or stepped, or keeps the state of another rule; there is no
            such implementation; or torch lacks all that was asked for.
        DeviceError: the device is not there.
    """
    device = open_device(choose_device() if scope.device == "auto" else scope.device)
    absent = [optimizer for optimizer in optimizers if absence(optimizer)]
    if absent and not classes and len(absent) == len(optimizers):
        raise UsageError(f"{absence(absent[0])}.")
    there = [optimizer for optimizer in optimizers if optimizer not in absent]
    ruled = [subject_of(optimizer) for optimizer in there if optimizer.rule is not None]
    subjects = [*ruled, *(subject_of_own(c.guarded, c.rule, c.given) for c in classes if c.rule is not None)]
    planned = [(s, i) for s in subjects for i in scope.of(s.implementations)]
    if subjects and not planned:
        names = " or ".join(subject.name for subject in subjects)
        raise UsageError(f"there is no {scope.implementation} implementation of {names}.")
    steps = len(planned) + len(classes)
    checks: list[Check] = []
    conformances: list[Conformance] = []
    with one_thread():
        for done, (subject, implementation) in enumerate(planned):
            report(done, steps, f"{subject.name} ({implementation})")
            checks += check_in_dtypes(subject, implementation, scope.dtypes, device)
        for done, each in enumerate(classes, start=len(planned)):
            report(done, steps, each.own.name)
            conformances += conform(each.guarded, each.given)
            conformances += each.guard.conformances(each.own.name)
    unruled = [_unchecked(o, device, Verdict.NO_RULE, NO_RULE) for o in there if o.rule is None]
    missing = [_unchecked(o, device, Verdict.NO_CLASS, absence(o)) for o in absent]
    return Verification((*checks, *unruled, *missing), tuple(conformances))


def check_in_dtypes(
    subject: Subject, implementation: Implementation, dtypes: Sequence[str], device: torch.device
) -> Iterator[Check]:
    """Yield a subject's check in each dtype; where it departs, with the likely causes.

    Raises:
        UsageError: the class can be run under none of the settings, or keeps the state of another rule.
    """
    checks = [check_subject(subject, implementation=implementation, dtype=d, device=device) for d in dtypes]
    if all(check.verdict is Verdict.AGREES for check in checks):
        yield from checks
        return
    causes, notes = likely_causes_of(subject, implementation=implementation, device=device)
    for check in checks:
        departs = check.verdict is Verdict.DEPARTS
        yield replace(check, causes=causes, notes=(*check.notes, *notes)) if departs else check


NO_RULE = "what it does in a step depends on the data, so that there is no rule to hold it against"
"""What is said of an optimizer without a rule."""


def _unchecked(optimizer: CatalogueEntry, device: torch.device, verdict: Verdict, note: str) -> Check:
    return Check(
        optimizer=optimizer.name,
        rule="",
        implementation=optimizer.implementations[0],
        dtype="",
        device=str(device),
        configurations=0,
        worst_step_error=None,
        worst_run_error=None,
        verdict=verdict,
        notes=(note,),
    )
