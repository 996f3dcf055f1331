"""The likely cause of a departure: the mistake that, made in the rule, makes rule and class agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import combinations, islice, product
from typing import TypeAlias

from optitrace.analysis.verification.departure import DepartingStep, first_departing_steps
from optitrace.analysis.verification.recorded_run import RecordedRun, agrees, recompute
from optitrace.analysis.verification.step_check import COUNT, WEIGHTS, CheckedStep
from optitrace.rules.line_changes import derived_mistakes
from optitrace.rules.mistakes import MISTAKES, Mistake, damaged
from optitrace.rules.rule import Rule

MOST_CAUSES = 3
"""The largest number of causes named if the settings cannot distinguish them."""

MOST_PAIRS = 800
"""The largest number of pairs of mistakes that are tried, which takes some seconds."""

Candidate: TypeAlias = tuple[tuple[Mistake, ...], Rule]
"""Mistakes, and the rule with them in it."""


def likely_causes(rule: Rule, runs: Sequence[RecordedRun]) -> tuple[str, ...]:
    """Return clauses that complete the sentence "agrees with adam if ...".

    The known mistakes of the rule are tried first, then every small change of one of its lines, and then
    two of all these at once; for each, state and weights first, and the weights alone where nothing
    explains the state.

    Args:
        rule: the rule of the catalogue that the class departs from.
        runs: what the class did, best in float64, where few mistakes are hidden by rounding.
    """
    for trusted in (True, False):
        first = list(first_departing_steps(rule, runs, trusted=trusted))
        if not first:  # it agrees, and so would a mistake that changes nothing here
            return ()
        known, derived = _known(rule), _derived(rule)
        for candidates in (
            known,
            derived,
            _pairs(rule, first, trusted, known),
            _pairs(rule, first, trusted, (*known, *derived)),
        ):
            clauses = (
                " and ".join(mistake.name for mistake in mistakes)
                for mistakes, wrong in candidates
                if _agrees(wrong, runs, trusted)
            )
            if causes := tuple(islice(clauses, MOST_CAUSES)):
                return causes
        if all(each.step.departing == [WEIGHTS] for each in first):  # there is no state to distrust
            return ()
    return ()


@cache
def _known(rule: Rule) -> tuple[Candidate, ...]:
    return tuple(_damage(rule, ((mistake,) for mistake in MISTAKES.get(rule.name, ()))))


@cache
def _derived(rule: Rule) -> tuple[Candidate, ...]:
    return tuple(_damage(rule, ((mistake,) for mistake in derived_mistakes(rule))))


def _damage(rule: Rule, choices: Iterable[tuple[Mistake, ...]]) -> Iterator[Candidate]:
    for mistakes in choices:
        try:
            yield mistakes, damaged(rule, *mistakes)
        except LookupError:  # the first mistake has removed what the second one changes
            continue


def _pairs(
    rule: Rule, first: Sequence[DepartingStep], trusted: bool, singles: Sequence[Candidate]
) -> Iterator[Candidate]:
    """Yield two mistakes at once that may explain a departure.

    Where the class departs in several quantities, a first mistake is to explain the first of them by
    itself. Where none does, both mistakes are to change what departs, and nothing else.
    """
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
    yield from _damage(rule, islice((pair for pair in pairs if pair[0] is not pair[1]), MOST_PAIRS))


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
