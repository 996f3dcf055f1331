"""The likely cause of a departure: the mistake that, made in the rule, makes rule and class agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations, islice, product
from typing import TypeAlias

from optitrace.analysis.verification.departure import DepartingStep, first_departing_steps
from optitrace.analysis.verification.recorded_run import RecordedRun, agrees, recompute
from optitrace.analysis.verification.step_check import COUNT, WEIGHTS, CheckedStep
from optitrace.rules.discriminating_cases import damaged_functions, distinct_mistakes, effect_of
from optitrace.rules.mistakes import Mistake, damaged_function
from optitrace.rules.rule import Rule

MOST_CAUSES = 3
"""The largest number of causes named if the settings cannot distinguish them."""

MOST_PAIRS = 800
"""The largest number of pairs of mistakes that are tried, which takes some seconds."""

Candidate: TypeAlias = tuple[tuple[Mistake, ...], Rule]
"""Mistakes, and the rule with them in it."""


def likely_causes(rule: Rule, runs: Sequence[RecordedRun]) -> tuple[str, ...]:
    """Return clauses that complete the sentence "agrees with adam if ...".

    The mistakes of the rule are tried one by one, and then two at once; for each, state and weights first,
    and the weights alone where nothing explains the state. Of mistakes with one effect the first is named.

    Args:
        rule: the rule of the catalogue that the class departs from.
        runs: what the class did, best in float64, where few mistakes are hidden by rounding.
    """
    for trusted in (True, False):
        first = list(first_departing_steps(rule, runs, trusted=trusted))
        if not first:  # it agrees, and so would a mistake that changes nothing here
            return ()
        for candidates in (_singles(rule), _pairs(rule, first, trusted)):
            agreeing = (candidate for candidate in candidates if _agrees(candidate[1], runs, trusted))
            if causes := tuple(islice(_clauses(rule, agreeing), MOST_CAUSES)):
                return causes
        if all(each.step.departing == [WEIGHTS] for each in first):  # there is no state to distrust
            return ()
    return ()


def _clauses(rule: Rule, candidates: Iterable[Candidate]) -> Iterator[str]:
    """Yield what candidates are called; of those with one effect, the first."""
    effects: set[str] = set()
    for mistakes, wrong in candidates:
        if (effect := effect_of(rule, wrong.function)) not in effects:
            effects.add(effect)
            yield " and ".join(mistake.name for mistake in mistakes)


@cache
def _singles(rule: Rule) -> tuple[Candidate, ...]:
    return tuple(
        ((mistake,), replace(rule, function=function)) for mistake, function in damaged_functions(rule)
    )


def _pairs(rule: Rule, first: Sequence[DepartingStep], trusted: bool) -> Iterator[Candidate]:
    """Yield two mistakes at once that may explain a departure.

    Where the class departs in several quantities, a first mistake is to explain the first of them by
    itself. Where none does, both mistakes are to change what departs, and nothing else.
    """
    distinct = set(distinct_mistakes(rule))
    singles = [single for single in _singles(rule) if single[0][0] in distinct]
    run, departing = max(first, key=lambda each: len(each.step.departing))
    quantity = next((name for name in departing.departing if name not in (WEIGHTS, COUNT)), WEIGHTS)
    explaining: list[Mistake] = []
    changing: list[Mistake] = []
    for mistakes, wrong in singles:
        step = _step(wrong, run, int(departing.inputs.number), trusted)
        if step is None or not set(step.departing) <= set(departing.departing):
            continue
        if quantity not in step.departing:
            explaining += mistakes
        elif any(
            not step.quantities[name].expected.equal(departing.quantities[name].expected)
            for name in departing.departing
        ):
            changing += mistakes
    everything = [mistake for mistakes, _ in singles for mistake in mistakes]
    pairs = product(explaining, everything) if explaining else combinations(changing, 2)
    for pair in islice((pair for pair in pairs if pair[0] is not pair[1]), MOST_PAIRS):
        try:
            yield pair, replace(rule, function=damaged_function(rule, *pair))
        except LookupError:  # the first mistake has removed what the second one changes
            continue


def _step(wrong: Rule, run: RecordedRun, number: int, trusted: bool) -> CheckedStep | None:
    """Return a step of a run checked with a damaged rule; None if that cannot be computed."""
    try:
        return next(islice(recompute(wrong, run, trusted=trusted), number - 1, None))
    except Exception:  # a damaged rule can fail in any way
        return None


def _agrees(wrong: Rule, runs: Sequence[RecordedRun], trusted: bool) -> bool:
    try:
        return agrees(wrong, runs, trusted=trusted)
    except Exception:  # a damaged rule can fail in any way
        return False
