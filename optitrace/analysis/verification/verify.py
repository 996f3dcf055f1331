"""Verifying: optimizers held against their rules, and classes of one's own against what holds for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from optitrace.analysis.verification.agreement import check_subject, likely_causes_of
from optitrace.analysis.verification.check import Check, Conformance, Verdict, Verification
from optitrace.analysis.verification.conformance import conform
from optitrace.analysis.verification.subject import Subject, absence, subject_of, subject_of_own
from optitrace.errors import UsageError, did_you_mean
from optitrace.experiment.own_class import OwnClass
from optitrace.rules import catalogue
from optitrace.rules.catalogue import Implementation
from optitrace.rules.numerals import listed
from optitrace.rules.rule import Rule
from optitrace.tracing.devices import one_thread, open_device

DTYPES = ("float32", "float64")
"""The dtypes in which an optimizer can be verified.

In float16 and bfloat16 the units are so large that hardly any mistake would show.
"""

Report: TypeAlias = Callable[[int, int, str], None]
"""Is told how many things are done, of how many, and what is next."""


@dataclass(frozen=True, slots=True)
class Scope:
    """In what ways optimizers are verified.

    Attributes:
        dtypes: some of `DTYPES`.
        implementation: the only implementation to be tried; every one that there is if empty.
        device: where it is computed.

    Raises:
        UsageError: a dtype or an implementation that there is not.
    """

    dtypes: tuple[str, ...] = DTYPES
    implementation: str = ""
    device: str = "cpu"

    def __post_init__(self) -> None:
        for dtype in self.dtypes:
            if dtype not in DTYPES:
                raise UsageError(f"verify has no dtype '{dtype}'; it has {listed(DTYPES)}.")
        if self.implementation not in ("", *_IMPLEMENTATIONS):
            guess = did_you_mean(self.implementation, _IMPLEMENTATIONS) or ";"
            known = ", ".join(_IMPLEMENTATIONS)
            raise UsageError(f"unknown implementation '{self.implementation}'{guess} there are {known}.")

    def implementations(self, subject: Subject) -> list[Implementation]:
        """Return the implementations of a subject that are to be tried."""
        return [i for i in subject.implementations if self.implementation in ("", i)]


_IMPLEMENTATIONS = ("single", "foreach", "fused")


@dataclass(frozen=True, slots=True)
class Own:
    """A class of one's own, and how it is called.

    Attributes:
        own: the class.
        given: hyperparameters that are to have these values.
        rule: what it is to do; None if that is not known.
    """

    own: OwnClass
    given: Mapping[str, Any]
    rule: Rule | None


def verify(
    optimizers: Sequence[catalogue.Optimizer],
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
    device = open_device(scope.device)
    absent = [optimizer for optimizer in optimizers if absence(optimizer)]
    if absent and not classes and len(absent) == len(optimizers):
        raise UsageError(f"{absence(absent[0])}.")
    there = [optimizer for optimizer in optimizers if optimizer not in absent]
    ruled = [subject_of(optimizer) for optimizer in there if optimizer.rule is not None]
    subjects = [*ruled, *(subject_of_own(c.own, c.rule, c.given) for c in classes if c.rule is not None)]
    planned = [(s, i) for s in subjects for i in scope.implementations(s)]
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
            conformances += conform(each.own, each.given)
    unruled = [_unchecked(o, scope, Verdict.NO_RULE, NO_RULE) for o in there if o.rule is None]
    missing = [_unchecked(o, scope, Verdict.NO_CLASS, absence(o)) for o in absent]
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


def _unchecked(optimizer: catalogue.Optimizer, scope: Scope, verdict: Verdict, note: str) -> Check:
    return Check(
        optimizer=optimizer.name,
        rule="",
        implementation=optimizer.implementations[0],
        dtype="",
        device=scope.device,
        configurations=0,
        worst_step_error=None,
        worst_run_error=None,
        verdict=verdict,
        notes=(note,),
    )
