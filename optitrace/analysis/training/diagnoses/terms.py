"""Terms of the update rule that have no effect in the dtype of the weights, or all of it."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer, short
from optitrace.analysis.training.diagnoses.updates import SHORT_DTYPES, lost_updates
from optitrace.experiment.float_formats import FORMATS
from optitrace.records.training import OptimizerTrace, TermEffect
from optitrace.text import counted, first_of

FEWEST_STEPS = 3
"""The number of inspected steps from which on a term that did nothing in any of them is idle."""

DECAYS = ("weight_decay", "lambd")
"""The terms that pull weights toward zero."""

EPS = "eps"
"""The term that is added to a denominator, to do nothing but where that is near zero."""

NEARLY_ALL = 0.9
"""The share of the weights from which on eps sets the size of a step."""


@of_an_optimizer("weight decay without effect", 82)
def dead_decays(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Weight decay that rounding takes from every weight, in every inspected step.

    Where rounding takes most updates, that is reported alone.
    """
    if any(lost_updates(optimizer)):
        return
    for effect in optimizer.effects:
        if effect.term not in DECAYS or not _is_idle(effect) or effect.dtype not in FORMATS:
            continue
        each, half_ulp = effect.lr * effect.value, _half_ulp(effect.dtype)
        name = "weight decay" if effect.term == "weight_decay" else effect.term
        group = f" of group {effect.group}" if len(optimizer.hyperparameters) > 1 else ""
        is_short = effect.dtype in SHORT_DTYPES
        yield Finding(
            step=effect.steps.first,
            count=effect.steps.count,
            fact=f"{name} of {optimizer.name} changes 0 of {_weights(effect)}{group} in {effect.dtype}: "
            f"lr·{effect.term} is {short(each)}"
            + (f", half an ulp of a weight is {short(half_ulp)}" if each < half_ulp else "")
            + f" ({counted(effect.steps.count, 'inspected step')})",
            remedy=f"keep the weights in float32 and use autocast, or raise {effect.term} ({effect.value:g})"
            if is_short
            else f"raise {effect.term} ({effect.value:g}), or set it to 0: it does nothing at this lr",
            severity="fault" if is_short else "remark",
            numbers={
                "changed": effect.changed,
                "weights": effect.weights,
                f"lr·{effect.term}": each,
                "half_ulp": half_ulp,
            },
        )


@of_an_optimizer("term without effect", 310)
def idle_terms(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Another hyperparameter than weight decay and eps that changes no weight, in any inspected step."""
    if any(lost_updates(optimizer)):
        return
    found: dict[str, list[TermEffect]] = {}
    for effect in optimizer.effects:
        if effect.term not in (*DECAYS, EPS):
            found.setdefault(effect.term, []).append(effect)
    for term, effects in found.items():
        if all(map(_is_idle, effects)):
            first = effects[0]
            value = optimizer.hyperparameters[first.group].get(term)
            yield Finding(
                step=min(effect.steps.first for effect in effects),
                count=max(effect.steps.count for effect in effects),
                fact=f"{term}={value} of {optimizer.name} changes 0 of {_weights(first)} in "
                f"{counted(first.steps.count, 'inspected step')}",
                remedy=f"the steps are the same without it: leave {term} out, unless a longer run needs it",
                severity="remark",
                numbers={"changed": 0, "weights": first.weights},
            )


@of_an_optimizer("eps dominates", 320)
def dominating_eps(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """An eps larger than the denominator that it is added to, for nearly all weights of a parameter."""
    for effect in optimizer.effects:
        if effect.term != EPS or not effect.dominated:
            continue
        names = effect.dominated
        is_all = effect.share >= NEARLY_ALL
        where = (
            f"{100 * effect.share:.3g} % of the weights that {optimizer.name} moves"
            if is_all
            else f"nearly all of {first_of(names, 1)} of the parameters of {optimizer.name}"
        )
        yield Finding(
            step=effect.steps.first,
            parameter=None if is_all else names[0],
            parameters=() if is_all else names,
            count=effect.steps.count,
            fact=f"eps {effect.value:g} dominates in {where}: it is most of the denominator, so that the "
            f"step is about lr·m/eps ({counted(effect.steps.count, 'inspected step')})",
            remedy="the steps grow and shrink with the gradient, as those of SGD: scale the loss or the "
            "targets, or lower eps",
            severity="remark",
            numbers={"eps": effect.value, "share": effect.share},
        )


@of_an_optimizer("state never falls", 83)
def stuck_state(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A running mean of which rounding keeps every number from falling, in every inspected step.

    Where rounding takes most updates, that is reported alone.
    """
    if any(lost_updates(optimizer)):
        return
    for stuck in optimizer.stuck:
        if stuck.steps.count < stuck.inspected or stuck.dtype not in FORMATS:
            continue
        beta = 1 - stuck.fall
        yield Finding(
            step=stuck.steps.first,
            count=stuck.steps.count,
            fact=f"{stuck.entry} of {optimizer.name} never falls: {beta:.6g}·{stuck.entry} is rounded to "
            f"{stuck.entry} in {stuck.dtype}, where half an ulp of a number is "
            f"{short(_half_ulp(stuck.dtype))} of it ({counted(stuck.steps.count, 'inspected step')})",
            remedy=f"keep the weights in float32, and the state with them, or have it decay by more than "
            f"{short(stuck.fall)} a step: a smaller beta",
            numbers={"fall": stuck.fall, "half_ulp": _half_ulp(stuck.dtype)},
        )


@of_an_optimizer("counter stalled", 84)
def stalled_counters(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A step counter in a dtype that cannot hold the next number."""
    stalled = optimizer.stalled
    if stalled is None:
        return
    value, first = f"{stalled.value:g}", stalled.steps.first
    yield Finding(
        step=first,
        parameter=stalled.parameters[0] if stalled.parameters else None,
        parameters=stalled.parameters,
        count=stalled.steps.count,
        fact=f"the step counter of {optimizer.name} stays at {value} from step {first} on: it is kept in "
        f"{stalled.dtype}, in which {value} + 1 is {value}",
        remedy="what the rule computes from it, such as the bias correction, stops there: "
        "keep the counter in float32 when the state is saved and loaded",
        numbers={"counter": stalled.value},
    )


def _is_idle(effect: TermEffect) -> bool:
    idle = effect.idle
    return idle is not None and idle.count == effect.steps.count >= FEWEST_STEPS


def _half_ulp(dtype: str) -> float:
    """Return the largest change, as a part of a weight, that is lost whatever the weight."""
    return 2.0 ** -(FORMATS[dtype].bits + 1)


def _weights(effect: TermEffect) -> str:
    return f"{effect.weights:,} {'sampled ' if effect.is_sampled else ''}weights"
