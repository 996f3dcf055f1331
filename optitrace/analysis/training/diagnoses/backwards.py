"""Faults of how many backwards a step uses: wasted, left over, not divided, or those of another optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer, share_of_steps
from optitrace.records.training import BackwardCount, OptimizerTrace
from optitrace.text import counted

NEARLY_ALL = 0.9
"""The share of steps from which on something is what the loop does, and not an exception."""

FEWEST_ADDED = 3
"""From how many backwards on they are rather micro-batches than different losses of one batch."""

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
    if usual < FEWEST_ADDED:
        return
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
        remedy=f"call zero_grad() of {optimizer.name} before its own backward, or detach() what the other "
        "optimizer's loss is not to train, as a GAN does with the fake",
    )


@of_an_optimizer("closure without zero_grad", 28)
def uncleared_closure(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Closures that never clear the gradients, so that their evaluations in a step add up."""
    tally = optimizer.uncleared
    if tally is None:
        return
    yield Finding(
        step=tally.first,
        count=tally.count,
        fact=f"the closure of {optimizer.name} does not clear the gradients: in step {tally.first} its "
        f"evaluations add up ({share_of_steps(tally.count, optimizer.steps_seen)})",
        remedy="call optimizer.zero_grad() within the closure, before loss.backward()",
    )


@of_an_optimizer("step before backward", 29)
def step_before_backward(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Steps that come before the backward of their batch: the first has no gradient, the last is not used."""
    without = optimizer.gradients.get("none")
    if without is None or without.first != 1 or without.count != 1 or not optimizer.unused_backwards:
        return
    if optimizer.steps_seen < FEWEST_STEPS:
        return
    yield Finding(
        step=1,
        fact=f"step 1 of {optimizer.name} has no gradient, and the last backward is used by no step: each "
        "step uses the gradient of the batch before",
        remedy="call optimizer.step() after loss.backward(), with the gradient of the same batch",
    )


@of_an_optimizer("dropped micro-batches", 221)
def dropped_micro_batches(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Backwards that are cleared now and then, as the last ones of an epoch that do not fill a step."""
    several = max((one.used for one in optimizer.backwards), default=0)
    dropping = [one for one in optimizer.backwards if one.wasted and one.wasted < several]
    count = sum(one.steps.count for one in dropping)
    if several < 2 or not dropping or count >= NEARLY_ALL * optimizer.steps_seen:
        return
    first = min(dropping, key=lambda one: one.steps.first)
    yield Finding(
        step=first.steps.first,
        count=count,
        numbers={"wasted": first.wasted},
        fact=f"before step {first.steps.first} of {optimizer.name}, {counted(first.wasted, 'backward')} "
        f"{'is' if first.wasted == 1 else 'are'} cleared that no step used "
        f"({share_of_steps(count, optimizer.steps_seen)})",
        remedy="take a step on what is left at the end of an epoch, or let it be: these batches do not count",
        severity="remark",
    )


def _is_periodic(found: BackwardCount) -> bool:
    """Return whether a count came again and again, each time after as many steps."""
    between = found.steps.count - 1
    return found.steps.count >= FEWEST_STEPS and (found.last - found.steps.first) % between == 0
