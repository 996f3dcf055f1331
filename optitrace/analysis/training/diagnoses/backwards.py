"""Faults of how many backwards a step uses: wasted, left over, not divided, or those of another optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer
from optitrace.analysis.training.diagnoses.wording import share_of_steps
from optitrace.records.training import BackwardCount, OptimizerTrace
from optitrace.text.number_format import counted

NEARLY_ALL = 0.9
"""The share of steps from which on something is what the loop does, and not an exception."""

FEWEST_STEPS = 3
"""From how many steps on a loop has a pattern."""


@of_an_optimizer("wasted backward", 25)
def wasted_backward(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Backwards whose gradients are cleared before any step uses them, in nearly every step."""
    wasting = [one for one in optimizer.backwards if one.wasted and one.used]
    count = sum(one.steps.count for one in wasting)
    if count < max(FEWEST_STEPS, NEARLY_ALL * optimizer.steps_seen):
        return
    usual = max(wasting, key=lambda one: one.steps.count)
    step, whole = wasting[0].steps.first, usual.used + usual.wasted
    others = (
        f"the gradients of the other {usual.wasted} are"
        if usual.wasted > 1
        else "the gradient of the other one is"
    )
    yield Finding(
        step=step,
        count=count,
        numbers={"used": usual.used, "wasted": usual.wasted},
        fact=f"a step of {optimizer.name} uses {usual.used} of {counted(whole, 'backward')}: {others} "
        f"cleared before a step uses {'them' if usual.wasted > 1 else 'it'} "
        f"({share_of_steps(count, optimizer.steps_seen)}, first step {step})",
        remedy="call zero_grad() once after optimizer.step(), and not before each micro-batch",
    )


@of_an_optimizer("left-over accumulation", 26)
def left_over(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Steps that use more micro-batches than most, as the rest of an epoch was not cleared."""
    counts = sorted({one.used for one in optimizer.backwards if one.used})
    if len(counts) != 2 or not 1 < counts[0] < counts[1] < 2 * counts[0]:
        return
    usual, more = counts
    larger = [one for one in optimizer.backwards if one.used == more]
    if len(larger) > 1 or not _is_periodic(larger[0]):
        return
    step, count = larger[0].steps.first, larger[0].steps.count
    yield Finding(
        step=step,
        count=count,
        numbers={"usual": usual, "used": more},
        fact=f"step {step} of {optimizer.name} uses {more} backwards, and others {usual} "
        f"({share_of_steps(count, optimizer.steps_seen)}): what is left over "
        "at the end of an epoch is added to the next",
        remedy="step on what is left at the end of an epoch, or call zero_grad() there: losses divided by "
        f"{usual} add up to {more}/{usual} of a mean",
    )


@of_an_optimizer("undivided accumulation", 220)
def undivided(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Losses of several micro-batches that are added, and not averaged."""
    tally = optimizer.undivided
    several = [one for one in optimizer.backwards if one.used > 1]
    if tally is None or not several or tally.count < NEARLY_ALL * optimizer.steps_seen:
        return
    usual = max(several, key=lambda one: one.steps.count).used
    yield Finding(
        step=tally.first,
        count=tally.count,
        numbers={"used": usual},
        fact=f"a step of {optimizer.name} uses the sum of {usual} backwards whose losses are not divided "
        f"({share_of_steps(tally.count, optimizer.steps_seen)})",
        remedy=f"if they are micro-batches of one batch, call (loss / {usual}).backward(): the gradient is "
        f"{usual} times as large as that of the mean",
        severity="remark",
    )


@of_an_optimizer("gradient of another optimizer", 27)
def mixed_gradients(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Gradients of a loss that another optimizer has already stepped on, under those of an own one."""
    tally = optimizer.mixed
    if tally is None:
        return
    yield Finding(
        step=tally.first,
        count=tally.count,
        fact=f"step {tally.first} of {optimizer.name} adds its gradient to that of a backward on which "
        f"another optimizer had stepped already ({share_of_steps(tally.count, optimizer.steps_seen)})",
        remedy=f"if the losses work against each other, as in a GAN, call zero_grad() of {optimizer.name} "
        "before its own backward",
        severity="remark",
    )


def _is_periodic(found: BackwardCount) -> bool:
    """Return whether a count came again and again, each time after as many steps."""
    between = found.steps.count - 1
    return found.steps.count >= FEWEST_STEPS and (found.last - found.steps.first) % between == 0
