"""Faults of the gradients that steps use: stale, accumulated, cleared, scaled, or missing."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer, share_of_steps
from optitrace.records.training import GradientCase, OptimizerTrace, Tally
from optitrace.text import counted, first_of

MOST_NAMED = 3
"""The number of parameters that a sentence names."""

MOST_CASES = 3
"""The number of sets of parameters that are reported one by one."""

CLEAR_ALL = (
    "call optimizer.zero_grad(), which clears the gradients of all its parameters, before loss.backward()"
)

MOST_LEFT_OUT = 0.1
"""The fraction of steps that a program may skip on purpose by clearing their gradients."""

SEARCH_FOR_THE_SCALE = 16
"""The number of steps a GradScaler may skip to find its scale: this many halvings take 2**16 to 1."""

MOST_SKIPPED = 0.1
"""The fraction of steps it may skip beyond those: by default it tries a larger scale every 2000 steps."""


@of_an_optimizer("stale gradient", 10)
def stale_gradient(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Steps that reuse the gradient of the previous step, for all parameters or for some."""
    yield from _of_kind(
        optimizer,
        "stale",
        "reuses the gradient of the previous step: backward() was not called in between",
        "call loss.backward() before each optimizer.step()",
    )
    for case in _reported_cases(optimizer, "stale"):
        is_one, first = len(case.parameters) == 1, case.steps.first
        when, old = f"since step {first}", f"the gradient of step {first - 1}"
        if case.steps.count <= case.last - first:  # not in all steps since
            when, old = f"in step {first}", "that of an earlier step"
        lacks, remedy = f"{'gets' if is_one else 'get'} no gradient", CLEAR_ALL
        if case.cause == "frozen":
            lacks = f"{'does' if is_one else 'do'} not require a gradient"
            remedy = (
                "clear the gradients of frozen parameters, with zero_grad() or p.grad = None, "
                "or leave the parameters out of the optimizer"
            )
        moved = f"{'is' if is_one else 'are'} moved by {old}"
        fact = f"{first_of(case.parameters, MOST_NAMED)} {lacks} {when}, and {moved}"
        yield _of_part(optimizer, case, fact, remedy)


@of_an_optimizer("accumulated gradient", 20)
def accumulated_gradient(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Gradients that are added to those of the previous step, for all parameters or for some."""
    cases, tally = (
        _reported_cases(optimizer, "accumulated"),
        optimizer.gradients.get("accumulated", Tally(0, 0)),
    )
    if all(case.steps.count < tally.count for case in cases):
        yield from _of_kind(
            optimizer,
            "accumulated",
            "adds its gradient to that of the previous step, which was not cleared",
            "call optimizer.zero_grad() before loss.backward()",
        )
        return
    for case in cases:
        fact = (
            f"step {case.steps.first} adds the gradient of {first_of(case.parameters, MOST_NAMED)} "
            "to that of the previous step, which was not cleared"
        )
        yield _of_part(optimizer, case, fact, CLEAR_ALL)


@of_an_optimizer("cleared gradient", 30)
def cleared_gradient(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Gradients that are cleared between backward and step.

    Those that were not finite are cleared on purpose, and those of a few steps may be.
    """
    cases = [case for case in optimizer.cases if case.kind == "cleared" and case.cause != "not finite"]
    if not cases:
        return
    count, taken = sum(case.steps.count for case in cases), optimizer.steps_seen
    is_called = all(case.cause == "zero_grad" for case in cases)
    what = "zero_grad() was called" if is_called else "the gradients were cleared"
    call = "zero_grad()" if is_called else "them"
    yield Finding(
        step=cases[0].steps.first,
        fact=f"step {cases[0].steps.first} of {optimizer.name} has no gradient to use: {what} "
        f"between backward and step ({share_of_steps(count, taken)})",
        remedy=f"{'call' if is_called else 'clear'} {call} before loss.backward() or after optimizer.step()",
        severity="remark" if count < MOST_LEFT_OUT * taken else "fault",
    )


@of_an_optimizer("scaled gradient", 40)
def scaled_gradient(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Steps that use a gradient still multiplied by the scale of a GradScaler."""
    yield from _of_kind(
        optimizer,
        "scaled",
        "uses a gradient that is still multiplied with a GradScaler's scale",
        "call scaler.step(optimizer), which takes the scale out, instead of optimizer.step()",
    )


def _of_kind(optimizer: OptimizerTrace, kind: str, what_it_does: str, remedy: str) -> Iterator[Finding]:
    if tally := optimizer.gradients.get(kind):
        yield Finding(
            step=tally.first,
            fact=f"step {tally.first} of {optimizer.name} {what_it_does} "
            f"({share_of_steps(tally.count, optimizer.steps_seen)})",
            remedy=remedy,
        )


def _reported_cases(optimizer: OptimizerTrace, kind: str) -> list[GradientCase]:
    """Return the first cases of a kind, which are reported one by one."""
    return [case for case in optimizer.cases if case.kind == kind][:MOST_CASES]


def _of_part(optimizer: OptimizerTrace, case: GradientCase, fact: str, remedy: str) -> Finding:
    cases = [one for one in optimizer.cases if one.kind == case.kind]
    others = {name for one in cases[MOST_CASES:] for name in one.parameters}
    is_last = case is cases[:MOST_CASES][-1]
    more = f"; the same applies to {counted(len(others), 'other parameter')}" if others and is_last else ""
    return Finding(
        step=case.steps.first,
        parameter=case.parameters[0],
        fact=f"{fact} ({share_of_steps(case.steps.count, optimizer.steps_seen)} of {optimizer.name}){more}",
        remedy=remedy,
    )


@of_an_optimizer("skipped steps", 70)
def skipped_steps(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """More skipped steps than a GradScaler needs to find its scale and to try larger ones."""
    tally, taken = optimizer.gradients.get("skipped"), optimizer.steps_seen
    if tally is None or tally.count <= SEARCH_FOR_THE_SCALE + MOST_SKIPPED * taken:
        return
    yield Finding(
        step=tally.first,
        fact=f"GradScaler skipped {share_of_steps(tally.count, taken)} of {optimizer.name}, "
        f"the first at step {tally.first}: their gradients were not finite",
        remedy="look for a loss that is not finite, lower the lr, or train in bfloat16 without a GradScaler",
    )


@of_an_optimizer("no gradient", 130)
def no_gradient(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """An optimizer none of whose steps has a gradient."""
    tally, taken = optimizer.gradients.get("none"), optimizer.steps_seen
    if tally is None or tally.count < taken:
        return
    yield Finding(
        step=tally.first,
        fact=f"step {tally.first} of {optimizer.name} moves nothing: no parameter has a gradient "
        f"({share_of_steps(tally.count, taken)})",
        remedy="call loss.backward() before optimizer.step(), "
        "and pass the parameters that the loss depends on to the optimizer",
    )
