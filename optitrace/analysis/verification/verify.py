"""Verifying optimizers: against their rules, and custom classes against what every sound optimizer does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from optitrace.analysis.verification.cause import likely_causes
from optitrace.analysis.verification.check import (
    ALLOWED,
    RUN_ALLOWED,
    Check,
    Conformance,
    Scope,
    Verdict,
    VerificationResult,
)
from optitrace.analysis.verification.conformance import conform
from optitrace.analysis.verification.departure import first_departure
from optitrace.analysis.verification.guard import ProcessGuard
from optitrace.analysis.verification.recorded_run import RecordedRun, agrees, recompute, record, run_error
from optitrace.analysis.verification.separate_process import Report
from optitrace.analysis.verification.step_check import COUNT, WEIGHTS
from optitrace.analysis.verification.subject import Subject, subject_of, subject_of_user_class
from optitrace.errors import UsageError
from optitrace.experiment.float_formats import dtype_name
from optitrace.experiment.user_class import UserClass
from optitrace.experiment.user_module import reason
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.optimizer import Optimizer as CatalogueEntry
from optitrace.rules.rule import Implementation, Rule
from optitrace.tracing.devices import choose_device, one_thread, open_device
from optitrace.tracing.prescribed_run import default_dtype
from optitrace.tracing.stepping import absence

NO_RULE = "what it does in a step depends on the data, so that there is no rule to check it against"
"""The note on an optimizer without a rule."""


@dataclass(frozen=True, slots=True)
class VerifiedClass:
    """A custom class, and how it is called.

    Attributes:
        user_class: the class.
        given: hyperparameters that have these values throughout.
        rule: the rule that it is to follow; None if that is not known.
        guard: what its code is run by.
    """

    user_class: UserClass
    given: Mapping[str, Any]
    rule: Rule | None
    guard: ProcessGuard = field(default_factory=ProcessGuard)

    @property
    def guarded(self) -> UserClass:
        """The class as the guard lets it run."""
        return self.guard.guarded(self.user_class)


def verify(
    optimizers: Sequence[CatalogueEntry],
    classes: Sequence[VerifiedClass],
    scope: Scope,
    report: Report = lambda done, of, what: None,
) -> VerificationResult:
    """Verify optimizers of torch against their rules, and custom classes.

    Args:
        optimizers: of torch; one that has no rule, or that the installed torch lacks, is listed as such.
        classes: each is verified against its rule, if it has one, and what every sound optimizer does.
        scope: in what ways.
        report: called with the progress.

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
    subjects = [
        *ruled,
        *(subject_of_user_class(c.guarded, c.rule, c.given) for c in classes if c.rule is not None),
    ]
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
            report(done, steps, each.user_class.name)
            conformances += conform(each.guarded, each.given)
            conformances += each.guard.conformances(each.user_class.name)
    unruled = [_unchecked(o, device, Verdict.NO_RULE, NO_RULE) for o in there if o.rule is None]
    missing = [_unchecked(o, device, Verdict.NO_CLASS, absence(o)) for o in absent]
    return VerificationResult((*checks, *unruled, *missing), tuple(conformances))


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
    causes, notes = _likely_causes_of(subject, implementation, device)
    for check in checks:
        departs = check.verdict is Verdict.DEPARTS
        yield replace(check, causes=causes, notes=(*check.notes, *notes)) if departs else check


def check_subject(
    subject: Subject, *, implementation: Implementation, dtype: str, device: torch.device
) -> Check:
    """Check a class against its rule, in one implementation and one dtype.

    torch keeps some scalars of the state (asgd's eta and mu, nadam's mu_product) in the default dtype,
    float32, even for float64 weights, so that no float64 run of theirs can be exact. Where float64
    departs, it is tried once more with float64 as the default dtype. If the class then agrees, and was
    off by no more than float32 explains, that second run decides, and a note says so.

    Raises:
        UsageError: the class can be run under none of the settings, or keeps the state of another rule.
    """

    def recordings() -> tuple[list[RecordedRun], str]:
        return record_all(subject, implementation=implementation, dtype=getattr(torch, dtype), device=device)

    runs, refusals = recordings()
    _check_layout(subject, runs)
    compared = _compare(subject.rule, runs)
    check = Check(
        optimizer=subject.name,
        rule=subject.rule.name,
        implementation=implementation,
        dtype=dtype,
        device=str(device),
        configurations=len(runs),
        **compared._asdict(),
        notes=tuple(filter(None, (*subject.notes, refusals))),
    )
    if check.verdict is Verdict.AGREES:
        return check
    if dtype == "float64" and (excused := _judged_in_default_float64(check, subject.rule, recordings)):
        return excused
    return replace(check, departure=first_departure(subject.rule, runs))


def record_all(
    subject: Subject, *, implementation: Implementation, dtype: torch.dtype, device: torch.device
) -> tuple[list[RecordedRun], str]:
    """Return the runs of every configuration that the class accepts, and in words which it refuses.

    Raises:
        UsageError: it accepts none.
    """
    runs = []
    refusals = []
    for configuration in subject.configurations:
        try:
            runs.append(
                record(subject, configuration, implementation=implementation, dtype=dtype, device=device)
            )
        except Exception as error:  # a custom class can raise anything
            refusals.append(reason(error))
    if not runs:
        raise UsageError(f"{subject.name} cannot be run under {subject.rule.name}'s settings: {refusals[0]}.")
    if not refusals:
        return runs, ""
    count, total = len(refusals), len(subject.configurations)
    return runs, f"{count} of {total} settings are left out, as it refuses them: {refusals[0]}"


class _Compared(NamedTuple):
    """Those fields of a `Check` that the comparison of some runs with a rule fills."""

    worst_step_error: float
    worst_run_error: float | None
    verdict: Verdict


def _compare(rule: Rule, runs: Sequence[RecordedRun]) -> _Compared:
    step_error, departs = 0.0, False
    for run in runs:
        for step in recompute(rule, run):
            step_error = max(step_error, step.quantities[WEIGHTS].worst)
            departs = departs or bool(step.departing)
    whole = max((run_error(rule, run) for run in runs if run.dtype is torch.float64), default=None)
    departs = departs or not (whole is None or whole <= RUN_ALLOWED)
    return _Compared(step_error, whole, Verdict.DEPARTS if departs else Verdict.AGREES)


def _judged_in_default_float64(
    check: Check, rule: Rule, recordings: Callable[[], tuple[list[RecordedRun], str]]
) -> Check | None:
    """Return the check judged with float64 as the default dtype, if that resolves the departure."""
    information = torch.finfo(torch.float64), torch.finfo(torch.float32)
    explained = ALLOWED * information[1].eps / information[0].eps
    if check.worst_step_error is None or not check.worst_step_error <= explained:
        return None
    with default_dtype(torch.float64):
        compared = _compare(rule, recordings()[0])
    if compared.verdict is Verdict.DEPARTS:
        return None
    relative = check.worst_step_error * information[0].eps
    note = (
        f"a float64 step is exact to {relative:.0e} alone, since it computes some scalars in the default "
        "dtype, float32; judged with float64 as the default dtype"
    )
    return replace(check, **compared._asdict(), notes=(*check.notes, note))


def _check_layout(subject: Subject, runs: Sequence[RecordedRun]) -> None:
    """Refuse a rule none of whose state a class keeps, if what it keeps is the state of others.

    State under names that no rule knows is accepted: the rule then carries its own along.
    """
    kept = {key for run in runs for key in run.steps[-1].state if key != COUNT}
    wanted = {entry.key for entry in subject.rule.state}
    owners = [
        o.name for o in TORCH_OPTIMIZERS.values() if o.rule is not None and kept and kept <= set(o.state)
    ]
    if owners and not kept & wanted:
        raise UsageError(
            f"{subject.name} keeps {', '.join(sorted(kept))}, the state of {' or '.join(owners)}, and "
            f"{subject.rule.name} keeps {', '.join(sorted(wanted))}; verify it against another rule."
        )


def _likely_causes_of(
    subject: Subject, implementation: Implementation, device: torch.device
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the likely causes of a departure, and notes on it.

    They are sought in float64, where few mistakes are hidden by rounding; and then in float32, for a class
    that computes in float32 whatever it is given, and so is explained by nothing in float64.
    """
    for dtype in (torch.float64, torch.float32):
        runs, _ = record_all(subject, implementation=implementation, dtype=dtype, device=device)
        if agrees(subject.rule, runs):
            name = dtype_name(dtype)
            return (), (f"in {name} it agrees: rounding alone, or an intermediate value of lower precision",)
        if causes := likely_causes(subject.rule, runs):
            break
    weights_agree = agrees(subject.rule, runs, trusted=False)
    return causes, ("its weights agree; its state has another meaning",) if weights_agree else ()


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
