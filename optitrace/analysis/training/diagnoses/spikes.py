"""Spikes: single steps far outside of the run before them, what caused them, and what remembers them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from optitrace.analysis.training.diagnoses.outliers import (
    Deviation,
    Episode,
    deviation,
    episodes,
    greatest_of,
)
from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer, short, times
from optitrace.analysis.training.diagnoses.step_size import Memory, lagging_entry, memory_of
from optitrace.records.training import OptimizerTrace
from optitrace.text import counted

NAMES = {"lr": "lr", "gradient_norm": "gradient", "update_norm": "update", "loss": "loss"}
"""What the columns are called in a sentence."""

FEWEST_AFTER = 10
"""How many rows there must be after a spike to say that a loss does not come back."""

STAYS = 8.0
"""How many times the usual loss it then is."""

FEWEST_OFTEN = 4
"""Up to how many spikes are told in any run."""

OFTEN = 0.01
"""From what share of the steps on spikes that come at any time belong to the data, as rare classes do."""

LONG = 5
"""From how many steps on that a state remembers a spike it is said."""

FOLLOWS = 20
"""Within how many steps of a spike numbers that are not finite follow from it."""


@of_an_optimizer("spike", 230)
def spikes(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Single steps whose loss, gradient, lr or update is far outside of the run before, with their cause.

    It is a fault where the loss does not come back after it, or numbers that are not finite follow.
    """
    found = list(episodes(optimizer))
    for cause in dict.fromkeys(episode.cause for episode in found):
        alike = [episode for episode in found if episode.cause == cause]
        if _is_usual(optimizer, alike):
            continue
        first, worst = alike[0], max(alike, key=lambda episode: episode.first[cause].factor)
        step, row = optimizer.steps[first.rows[0]], first.rows[0]
        parameter = _parameter(optimizer, cause, row)
        consequence = _consequence(optimizer, alike[-1])
        memory, of_worst = _memory(optimizer, worst), optimizer.steps[worst.rows[0]]
        yield Finding(
            step=step,
            count=len(alike),
            parameter=parameter or None,
            numbers={
                "factor": first.first[cause].factor,
                "usual": first.first[cause].usual,
                "worst": of_worst,
                "last": optimizer.steps[alike[-1].rows[0]],
                **({"until": of_worst + memory.steps} if memory else {}),
            },
            fact=f"{_described(optimizer, first)}{_mostly(parameter)}{_others(optimizer, alike, worst)}"
            f"{consequence}{_remembered(memory, of_worst)}",
            remedy=_remedy(step, first),
            severity="fault" if consequence else "remark",
        )


def compared(stands: Deviation) -> str:
    """Return how a number stands to those before it.

    >>> compared(Deviation(300.0, 3.0, 0.2, 2.0, 4.0, 50))
    '300, 100 times the median of 50 steps before (3)'
    """
    return (
        f"{short(stands.value)}, {times(stands.factor)} times the median of {counted(stands.rows, 'step')} "
        f"before ({short(stands.usual)})"
    )


def _described(optimizer: OptimizerTrace, episode: Episode) -> str:
    step, cause = optimizer.steps[episode.rows[0]], episode.cause
    said = f"the {NAMES[cause]} of step {step} of {optimizer.name} is {compared(episode.first[cause])}"
    if cause in ("lr", "loss"):
        return said if "gradient_norm" in episode.first else f"{said}, and its gradient is not far outside"
    if cause == "gradient_norm":
        loss = episode.first.get("loss")
        return said if loss is None else f"{said}, as is its loss ({times(loss.factor)} times)"
    gradient = episode.first.get("gradient_norm")
    if gradient is None:
        return f"{said}, and its gradient and its lr are not"
    entry = lagging_entry(optimizer, episode.rows[0], gradient.usual, gradient.value)
    why = f", and {entry} is still that of the steps before" if entry else ""
    return f"{said}: its gradient is {times(gradient.factor)} times as large from then on{why}"


def _others(optimizer: OptimizerTrace, alike: Sequence[Episode], worst: Episode) -> str:
    """Return how often it happens; empty if once."""
    if len(alike) == 1:
        return ""
    period = _period(optimizer, alike)
    how = f", every {period} steps" if period else ""
    return (
        f"; so it is in {len(alike)} places{how}, the worst at step {optimizer.steps[worst.rows[0]]}, "
        f"the last at step {optimizer.steps[alike[-1].rows[0]]}"
    )


def _is_usual(optimizer: OptimizerTrace, alike: Sequence[Episode]) -> bool:
    """Return whether large numbers come so often, and not one like the other, that the data have them."""
    often = max(FEWEST_OFTEN, OFTEN * len(optimizer.steps))
    return len(alike) > often and not _period(optimizer, alike)


def _period(optimizer: OptimizerTrace, alike: Sequence[Episode]) -> int:
    """Return after how many steps each episode comes; 0 if not always after as many, or they are two."""
    steps = [optimizer.steps[episode.rows[0]] for episode in alike]
    distances = {later - earlier for earlier, later in pairwise(steps)}
    return distances.pop() if len(distances) == 1 and len(steps) > 2 else 0


def _consequence(optimizer: OptimizerTrace, last: Episode) -> str:
    """Return what follows from a spike: a loss that stays high, or numbers that are not finite."""
    row, step = last.rows[0], optimizer.steps[last.rows[0]]
    broken = next((each for each in optimizer.non_finite if step < each.step <= step + FOLLOWS), None)
    if broken is not None:
        return f"; {broken.quantity} not finite at step {broken.step}"
    losses = greatest_of(optimizer, "loss")
    before = deviation(losses, row) if losses else None
    after = [loss for loss in losses[last.rows[-1] + 1 :] if math.isfinite(loss)]
    if before is None or len(after) < FEWEST_AFTER or "loss" in last.shifted or last.cause == "loss":
        return ""
    then = median(after)
    if then < STAYS * before.usual or then < before.greatest:
        return ""
    return f"; the loss does not come back: {short(then)} after it (median), {short(before.usual)} before"


def _memory(optimizer: OptimizerTrace, episode: Episode) -> Memory | None:
    """Return how long the state remembers a gradient, as the rule has it; None if not for long."""
    gradient = episode.first.get("gradient_norm")
    if gradient is None or "gradient_norm" in episode.shifted:
        return None
    row = episode.rows[0]
    found = memory_of(optimizer, row, gradient.usual, gradient.value)
    if found is None or found.steps < LONG:
        return None
    return found if _is_seen(optimizer, row, is_shorter=found.is_shorter) else None


def _remembered(memory: Memory | None, step: int) -> str:
    if memory is None:
        return ""
    length = "less than half as long" if memory.is_shorter else "more than twice as long"
    until = (
        f"until about step {step + memory.steps}"
        if memory.is_over
        else f"for more than {memory.steps:,} steps"
    )
    return f"; {memory.entry} remembers it: by the rule, updates are {length} {until}"


def _is_seen(optimizer: OptimizerTrace, row: int, *, is_shorter: bool) -> bool:
    """Return whether the updates after a row do not contradict what the rule says of them."""
    updates, lrs = greatest_of(optimizer, "update_norm"), greatest_of(optimizer, "lr")
    sizes = [u / lr if lr > 0 else math.nan for u, lr in zip(updates, lrs, strict=True)] if lrs else updates
    before = deviation(sizes, row)
    after = [size for size in sizes[row + 1 : row + 1 + LONG] if size > 0]
    if before is None or not after:
        return True
    return median(after) < before.usual if is_shorter else median(after) > before.usual


def _parameter(optimizer: OptimizerTrace, cause: str, row: int) -> str:
    """Return the parameter whose norm is the greatest in a row, where those of each were recorded."""
    column = optimizer.by_parameter.get("gradient_norm" if cause == "gradient_norm" else "update_norm")
    norms = None if column is None or cause in ("lr", "loss") else column.row(row)
    if not norms or len(norms) < 2:
        return ""
    return optimizer.recorded_parameters[max(range(len(norms)), key=lambda k: norms[k])]


def _mostly(parameter: str) -> str:
    return f", the most of it in {parameter}" if parameter else ""


def _remedy(step: int, episode: Episode) -> str:
    if episode.cause == "lr":
        return f"correct the schedule, or what sets the lr of step {step}"
    if episode.cause == "loss":
        return f"look at the batch of step {step}"
    if episode.cause == "update_norm":
        return (
            "raise the lr or the weight of the loss slowly where the gradient begins to be larger"
            if "gradient_norm" in episode.first
            else f"look at what changed the state, the groups or single parameters at step {step}"
        )
    usual = episode.first["gradient_norm"].usual
    look = (
        f"look at the batch of step {step}"
        if "loss" in episode.first
        else (f"look at what is divided or rooted in the forward of step {step}")
    )
    return f"{look}; clip_grad_norm_() with a limit of a few times {short(usual)} would have cut it"
