"""A class held against a rule, in every implementation and dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from optitrace.analysis.verification.cause import likely_causes
from optitrace.analysis.verification.check import ALLOWED, RUN_ALLOWED, Check, Verdict
from optitrace.analysis.verification.first_departure import first_departure
from optitrace.analysis.verification.one_step import agrees, recompute
from optitrace.analysis.verification.quantities import COUNT, WEIGHTS
from optitrace.analysis.verification.recording import RecordedRun, record
from optitrace.analysis.verification.subject import Subject
from optitrace.analysis.verification.whole_run import run_error
from optitrace.errors import UsageError
from optitrace.experiment.float_formats import dtype_name
from optitrace.experiment.own_module import reason
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.rule import Implementation, Rule
from optitrace.tracing.prescribed_run import default_dtype


@dataclass(frozen=True, slots=True)
class StepComparison:
    """What came out of holding recordings against a rule.

    Attributes:
        step_error: the largest of the weights after one step, in units.
        run_error: the largest relative one of a whole run; None if the recordings are not float64.
        departs: whether weights or state are further off than allowed, in a step or in a run.
    """

    step_error: float
    run_error: float | None
    departs: bool


def compare(rule: Rule, recordings: Sequence[RecordedRun]) -> StepComparison:
    """Hold recordings, at least one, against a rule."""
    step_error, departs = 0.0, False
    for recording in recordings:
        for step in recompute(rule, recording):
            step_error = max(step_error, step.found[WEIGHTS].worst)
            departs = departs or bool(step.departing)
    if recordings[0].dtype is not torch.float64:
        return StepComparison(step_error, None, departs)
    whole = max(run_error(rule, recording) for recording in recordings)
    return StepComparison(step_error, whole, departs or not whole <= RUN_ALLOWED)


def check_subject(
    subject: Subject, *, implementation: Implementation, dtype: str, device: torch.device
) -> Check:
    """Hold a class against its rule, in one implementation and one dtype.

    torch keeps some scalars of the state (asgd's eta and mu, nadam's mu_product) in the default dtype,
    float32, even for float64 weights, so that no float64 run of theirs can be exact. Where float64
    departs, it is tried once more with float64 as the default dtype. If the class then agrees, and was
    off by no more than float32 explains, it is judged by that second run, and a note says so.

    Raises:
        UsageError: the class can be run under none of the settings, or keeps the state of another rule.
    """

    def recordings() -> tuple[list[RecordedRun], str]:
        return record_all(subject, implementation=implementation, dtype=getattr(torch, dtype), device=device)

    recorded, refusals = recordings()
    _check_layout(subject, recorded)
    comparison = compare(subject.rule, recorded)
    check = Check(
        optimizer=subject.name,
        rule=subject.rule.name,
        implementation=implementation,
        dtype=dtype,
        device=str(device),
        configurations=len(recorded),
        worst_step_error=comparison.step_error,
        worst_run_error=comparison.run_error,
        verdict=Verdict.DEPARTS if comparison.departs else Verdict.AGREES,
        notes=tuple(filter(None, (*subject.notes, refusals))),
    )
    if not comparison.departs:
        return check
    if dtype == "float64" and (excused := _judged_in_default_float64(check, subject.rule, recordings)):
        return excused
    return replace(check, departure=first_departure(subject.rule, recorded))


def likely_causes_of(
    subject: Subject, *, implementation: Implementation, device: torch.device
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the likely causes of a departure, and what else is to be said of it.

    They are sought in float64, where few mistakes drown in rounding; and then in float32, for a class
    that computes in float32 whatever it is given, and so is explained by nothing in float64.
    """
    for dtype in (torch.float64, torch.float32):
        recorded, _ = record_all(subject, implementation=implementation, dtype=dtype, device=device)
        if agrees(subject.rule, recorded):
            name = dtype_name(dtype)
            return (), (f"in {name} it agrees: rounding alone, or something inside has fewer digits",)
        if causes := likely_causes(subject.rule, recorded):
            break
    weights_agree = agrees(subject.rule, recorded, trusted=False)
    return causes, ("its weights agree; its state means something else",) if weights_agree else ()


def record_all(
    subject: Subject, *, implementation: Implementation, dtype: torch.dtype, device: torch.device
) -> tuple[list[RecordedRun], str]:
    """Return the recordings of every configuration that the class takes, and what it refuses in words.

    Raises:
        UsageError: it takes none.
    """
    recorded = []
    refusals = []
    for configuration in subject.configurations:
        try:
            recorded.append(
                record(subject, configuration, implementation=implementation, dtype=dtype, device=device)
            )
        except Exception as error:  # a class of anyone's can raise anything
            refusals.append(reason(error))
    if not recorded:
        raise UsageError(f"{subject.name} cannot be run under {subject.rule.name}'s settings: {refusals[0]}.")
    if not refusals:
        return recorded, ""
    count, total = len(refusals), len(subject.configurations)
    return recorded, f"{count} of {total} settings are left out, as it refuses them: {refusals[0]}"


def _judged_in_default_float64(
    check: Check, rule: Rule, recordings: Callable[[], tuple[list[RecordedRun], str]]
) -> Check | None:
    """Return the check judged with float64 as the default dtype, if that is all that is amiss."""
    information = torch.finfo(torch.float64), torch.finfo(torch.float32)
    explained = ALLOWED * information[1].eps / information[0].eps
    if check.worst_step_error is None or not check.worst_step_error <= explained:
        return None
    with default_dtype(torch.float64):
        comparison = compare(rule, recordings()[0])
    if comparison.departs:
        return None
    relative = check.worst_step_error * information[0].eps
    note = (
        f"a float64 step is exact to {relative:.0e} alone, since it computes some scalars in the default "
        "dtype, float32; judged with float64 as the default dtype"
    )
    return replace(
        check,
        worst_step_error=comparison.step_error,
        worst_run_error=comparison.run_error,
        verdict=Verdict.AGREES,
        notes=(*check.notes, note),
    )


def _check_layout(subject: Subject, recorded: Sequence[RecordedRun]) -> None:
    """Refuse a rule none of whose state a class keeps, if what it keeps is the state of others.

    State under names that no rule knows is no hindrance: the rule then carries its own along.
    """
    kept = {key for recording in recorded for key in recording.steps[-1].state if key != COUNT}
    wanted = {entry.key for entry in subject.rule.state}
    owners = [o.name for o in OPTIMIZERS.values() if o.rule is not None and kept and kept <= set(o.state)]
    if owners and not kept & wanted:
        raise UsageError(
            f"{subject.name} keeps {', '.join(sorted(kept))}, the state of {' or '.join(owners)}, and "
            f"{subject.rule.name} keeps {', '.join(sorted(wanted))}; hold it against another rule."
        )
