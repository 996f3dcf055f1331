"""Faults of what a step begins with: state that was reset or rounded, weights that were changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from optitrace.analysis.training.diagnoses.registry import Finding, of_a_training, of_an_optimizer, short
from optitrace.analysis.training.diagnoses.rows import number
from optitrace.analysis.training.diagnoses.step_size import late_growth
from optitrace.records.training import WEIGHTS, OptimizerTrace, StateChange, TrainingRecord
from optitrace.text import counted, first_of, listed

LEAST_GROWTH = 0.01
"""From what part on an update is worth a word that is longer or shorter than it should be."""

LEFT_OUT = ("none", "skipped")
"""The kinds of gradients with which no rule counts a step."""

MOST_NAMED = 3
"""How many parameters are named of those that have a change in common."""

RESET = {"zero": "set to zero", "nothing": "removed"}
"""What the numbers of a state entry that was reset are now, and what was done to them."""


@of_an_optimizer("state reset", 5)
def state_reset(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Momentum or other state that is set to zero or removed between steps, and not by a restart.

    Where the weights of a parameter are replaced at the same time, as those of a re-initialized layer are, a
    reset of its state is right.
    """
    resets = [c for c in _of_state(optimizer) if c.became in RESET and not c.with_weights and _is_sure(c)]
    if not resets:
        return
    first = resets[0]
    alike = (first.steps, first.parameters, first.became)
    names = [c.quantity for c in resets if (c.steps, c.parameters, c.became) == alike]
    cause = (
        "load_state_dict() has loaded a state without it"
        if first.how == "loaded"
        else "the program changes optimizer.state, or its tensors, between steps"
    )
    yield Finding(
        step=first.steps.first,
        count=first.steps.count,
        parameter=_first(first),
        parameters=first.parameters,
        fact=f"{listed(names)} of {_whose(optimizer, first)} {_was(names)} {RESET[first.became]} "
        f"before step {first.steps.first}{_again(first)}",
        remedy=f"{cause}: leave the state alone, and keep one optimizer for the whole training",
    )


@of_a_training("optimizer made anew", 5)
def made_anew(training: TrainingRecord) -> Iterator[Finding]:
    """Optimizers that are made again and again over the same weights, each without the state of the last.

    A second one with other settings may be meant, as for another phase of the training.
    """
    by_name = {optimizer.name: optimizer for optimizer in training.optimizers}
    later = [o for o in training.optimizers if o.follows in by_name]
    for cls in dict.fromkeys(o.class_path for o in later):
        alike = [o for o in later if o.class_path == cls]
        first = alike[0]
        before = by_name[first.follows]
        if len(alike) == 1 and first.hyperparameters != before.hyperparameters:
            continue
        yield Finding(
            optimizer=first.name,
            step=1,
            count=len(alike),
            fact=f"{first.name} goes on with the weights that step {before.taken} of {before.name} has left, "
            f"and begins without its state{_more_like_it(alike)}",
            remedy="the program makes the optimizer anew: make it once, before the loop, and change its lr "
            "with a scheduler or in param_groups",
        )


@of_an_optimizer("state not loaded", 4)
def state_not_loaded(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """An optimizer that begins without the state that its checkpoint has, though the weights were loaded.

    With another lr it may be meant, as where a model is fine-tuned.
    """
    saved = optimizer.unloaded
    if saved is None:
        return
    lrs = tuple(group.get("lr") for group in optimizer.hyperparameters)
    after = f", after {counted(saved.step, 'step')}" if saved.step else ""
    yield Finding(
        step=1,
        fact=f"step 1 of {optimizer.name} begins without the state that {saved.file} has for its parameters"
        f"{after}: the weights were loaded from a checkpoint, and the state was not",
        remedy="call optimizer.load_state_dict() to go on with the training; to begin a new one, "
        "this is right",
        severity="fault" if saved.lr == lrs else "remark",
    )


@of_an_optimizer("rounded state", 6)
def rounded_state(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """State whose numbers were all rounded to a coarser dtype than they are kept in."""
    rounded = [c for c in _of_state(optimizer) if c.became and c.became not in RESET]
    if not rounded:
        return
    first = rounded[0]
    names = list(dict.fromkeys(c.quantity for c in rounded if c.steps == first.steps))
    by = "as it was loaded" if first.how == "loaded" else "between steps"
    yield Finding(
        step=first.steps.first,
        count=first.steps.count,
        parameter=_first(first),
        parameters=first.parameters,
        fact=f"every number of {listed(names)} of {_whose(optimizer, first)} fits {first.became} "
        f"{by}, before step {first.steps.first}",
        remedy=f"the state was rounded to {first.became} on its way through a file or a cast: save "
        "optimizer.state_dict() in its own dtype, and cast the weights alone",
    )


@of_an_optimizer("counted without gradient", 7)
def counted_without_gradient(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """First steps whose gradients are zero: a rule that corrects a bias counts them all the same."""
    if not optimizer.steps or optimizer.steps[0] != 1 or _had_state(optimizer):
        return
    rows = takewhile(lambda row: _is_ghost(optimizer, row), range(len(optimizer.steps)))
    ghosts = sum(1 for _ in rows)
    if not ghosts or ghosts == len(optimizer.steps):
        return
    growth = late_growth(optimizer, ghosts + 1, number(optimizer, "gradient_norm", ghosts))
    if growth is None or abs(growth - 1) < LEAST_GROWTH:
        return
    is_meant = optimizer.kind(0) in ("fresh", "accumulated")
    steps = "step 1 has" if ghosts == 1 else f"steps 1 to {ghosts} have"
    yield Finding(
        step=1,
        count=ghosts,
        numbers={"growth": growth},
        fact=f"{steps} a gradient of zeros, which {optimizer.name} counts: the update of step {ghosts + 1}, "
        f"the first with a gradient, is {short(growth)} times as long as a first one",
        remedy="the rule corrects its averages for one step too many: "
        "do not step before the first backward; zero_grad(set_to_none=True) lets a step pass such parameters",
        severity="remark" if is_meant else "fault",
    )


@of_an_optimizer("changed weights", 200)
def changed_weights(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Weights that the program changes between steps, as averaging, pruning and projections do."""
    changes = [c for c in optimizer.changes if c.quantity == WEIGHTS]
    if not changes or any(parameter.also_in for parameter in optimizer.parameters):
        return
    first, count = changes[0], sum(change.steps.count for change in changes)
    whose = _whose(optimizer, first)
    yield Finding(
        step=first.steps.first,
        count=count,
        parameter=_first(first),
        parameters=first.parameters,
        fact=f"the weights of {whose} were changed between steps, first before step {first.steps.first} "
        f"({counted(count, 'time')})",
        remedy="an average, a projection, a mask or loading a checkpoint does so; "
        f"{optimizer.name} goes on with the state that it had",
        severity="remark",
    )


def _more_like_it(alike: Sequence[OptimizerTrace]) -> str:
    names = [optimizer.name for optimizer in alike[1:]]
    return f"; so {'does' if len(names) == 1 else 'do'} {first_of(names, MOST_NAMED)}" if names else ""


def _had_state(optimizer: OptimizerTrace) -> bool:
    """Return whether a state was loaded before the first step."""
    return any(change.steps.first <= 1 for change in optimizer.changes)


def _is_ghost(optimizer: OptimizerTrace, row: int) -> bool:
    """Return whether a row is a step that was taken with gradients that are zero."""
    is_next = optimizer.steps[row] == row + 1
    return is_next and not number(optimizer, "gradient_norm", row) and optimizer.kind(row) not in LEFT_OUT


def _of_state(optimizer: OptimizerTrace) -> Sequence[StateChange]:
    return [change for change in optimizer.changes if change.quantity != WEIGHTS]


def _is_sure(change: StateChange) -> bool:
    """Return whether numbers that are zero now were not all zero before, as those of unused weights are."""
    return change.how != "loaded" or not change.parameters


def _whose(optimizer: OptimizerTrace, change: StateChange) -> str:
    if not change.parameters:
        return optimizer.name
    return f"{first_of(change.parameters, MOST_NAMED)} in {optimizer.name}"


def _first(change: StateChange) -> str | None:
    return change.parameters[0] if change.parameters else None


def _again(change: StateChange) -> str:
    count = change.steps.count
    return f", and {counted(count - 1, 'more time')} until step {change.last}" if count > 1 else ""


def _was(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"
