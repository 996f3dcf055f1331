"""The likely cause of a departure: the mistake that, made in the rule, makes rule and class agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import combinations, islice, product
from typing import TypeAlias

from optitrace.analysis.verification.one_step import Recomputed, agrees, recompute
from optitrace.analysis.verification.quantities import COUNT, WEIGHTS
from optitrace.analysis.verification.recording import RecordedRun
from optitrace.analysis.verification.subject import find_rule
from optitrace.rules.line_changes import derived_mistakes
from optitrace.rules.mistakes import MISTAKES, Mistake, damaged
from optitrace.rules.rule import Rule

MOST_CAUSES = 3
"""How many causes are named, where the settings tried cannot tell them apart."""

MOST_PAIRS = 800
"""How many pairs of mistakes are tried at most, which takes some seconds."""

Candidate: TypeAlias = tuple[tuple[Mistake, ...], Rule]
"""Mistakes, and the rule with them in it."""


def likely_causes(rule: Rule, recordings: Sequence[RecordedRun]) -> tuple[str, ...]:
    """Return clauses that complete the sentence "agrees with adam if ...".

    The mistakes known of the rule are tried first, then every small change of one of its lines, and then
    two of all these at once; for each, state and weights first, and the weights alone where nothing
    explains the state.

    Args:
        rule: the rule that the class departs from, of the catalogue.
        recordings: what the class did, in float64, where few mistakes drown in rounding.
    """
    for trusted in (True, False):
        steps = list(_first_steps(rule, recordings, trusted))
        if not steps:  # it agrees, and so would a mistake that changes nothing here
            return ()
        known, derived = _known(rule.name), _derived(rule.name)
        for candidates in (
            known,
            derived,
            _pairs(rule, steps, trusted, known),
            _pairs(rule, steps, trusted, (*known, *derived)),
        ):
            clauses = (
                " and ".join(mistake.name for mistake in mistakes)
                for mistakes, wrong in candidates
                if _agrees(wrong, recordings, trusted)
            )
            if causes := tuple(islice(clauses, MOST_CAUSES)):
                return causes
        if all(step.departing == [WEIGHTS] for _, step in steps):  # there is no state to distrust
            return ()
    return ()


@cache
def _known(name: str) -> tuple[Candidate, ...]:
    return tuple(_damage(name, ((mistake,) for mistake in MISTAKES.get(name, ()))))


@cache
def _derived(name: str) -> tuple[Candidate, ...]:
    return tuple(_damage(name, ((mistake,) for mistake in derived_mistakes(find_rule(name)))))


def _damage(name: str, choices: Iterable[tuple[Mistake, ...]]) -> Iterator[Candidate]:
    for mistakes in choices:
        try:
            yield mistakes, damaged(find_rule(name), *mistakes)
        except LookupError:  # the first mistake has taken away what the second one changes
            continue


def _pairs(
    rule: Rule,
    steps: Sequence[tuple[RecordedRun, Recomputed]],
    trusted: bool,
    singles: Sequence[Candidate],
) -> Iterator[Candidate]:
    """Yield two mistakes at once that may explain a departure.

    Where the class departs in several quantities, a first mistake is to explain the first of them by
    itself. Where none does, both mistakes are to change what departs, and nothing else.

    Args:
        rule: the rule.
        steps: the first step that departs of each recording.
        trusted: whether the state is the class's own.
        singles: the mistakes, one at a time.
    """
    recording, probe = max(steps, key=lambda pair: len(pair[1].departing))
    first = next((name for name in probe.departing if name not in (WEIGHTS, COUNT)), WEIGHTS)
    explaining: list[Mistake] = []
    changing: list[Mistake] = []
    for mistakes, wrong in singles:
        step = _step(wrong, recording, probe.number, trusted)
        if step is None or not set(step.departing) <= set(probe.departing):
            continue
        if first not in step.departing:
            explaining += mistakes
        elif any(not step.found[q].expected.equal(probe.found[q].expected) for q in probe.departing):
            changing += mistakes
    everything = [mistake for mistakes, _ in singles for mistake in mistakes]
    pairs = product(explaining, everything) if explaining else combinations(changing, 2)
    yield from _damage(rule.name, islice((pair for pair in pairs if pair[0] is not pair[1]), MOST_PAIRS))


def _first_steps(
    rule: Rule, recordings: Sequence[RecordedRun], trusted: bool
) -> Iterator[tuple[RecordedRun, Recomputed]]:
    for recording in recordings:
        departing = (step for step in recompute(rule, recording, trusted=trusted) if step.departing)
        if step := next(departing, None):
            yield recording, step


def _step(wrong: Rule, recording: RecordedRun, number: int, trusted: bool) -> Recomputed | None:
    """Return a step of a recording as a wrong rule makes it; None if it cannot be computed."""
    try:
        steps = recompute(wrong, recording, trusted=trusted)
        return next(step for step in steps if step.number == number)
    except Exception:  # what a mistake makes of a rule can fail in any way
        return None


def _agrees(wrong: Rule, recordings: Sequence[RecordedRun], trusted: bool) -> bool:
    try:
        return agrees(wrong, recordings, trusted=trusted)
    except Exception:  # what a mistake makes of a rule can fail in any way
        return False
