"""The likely cause of a departure: the mistake that, made in the rule, makes rule and class agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations

from optitrace.analysis.verification.one_step import agrees
from optitrace.analysis.verification.recording import Recording
from optitrace.analysis.verification.subject import find_rule
from optitrace.rules.mistakes import MISTAKES, damaged
from optitrace.rules.rule import Rule

MOST_CAUSES = 3
"""How many causes are named, where the settings tried cannot tell them apart."""


def likely_causes(rule: Rule, recordings: Sequence[Recording]) -> tuple[str, ...]:
    """Return clauses that complete the sentence "agrees with adam if ...".

    Single mistakes are tried first, and pairs of them where no single one will do; for each, state and
    weights first, and the weights alone where no mistake explains the state.

    Args:
        rule: the rule that the class departs from, of the catalogue.
        recordings: what the class did, in float64, where few mistakes drown in rounding.
    """
    for trusted in (True, False):
        if agrees(rule, recordings, trusted=trusted):  # then a mistake agrees if it changes nothing here
            return ()
        for size in (1, 2):
            causes = [
                " and ".join(mistakes)
                for mistakes, wrong in _damaged_rules(rule.name, size)
                if _agrees(wrong, recordings, trusted=trusted)
            ]
            if causes:
                return tuple(causes[:MOST_CAUSES])
    return ()


@cache
def _damaged_rules(name: str, size: int) -> tuple[tuple[tuple[str, ...], Rule], ...]:
    """Return every combination of so many mistakes that can be made at once, and the rule with them in it."""
    return tuple(_damage(name, size))


def _damage(name: str, size: int) -> Iterator[tuple[tuple[str, ...], Rule]]:
    for mistakes in combinations(MISTAKES[name], size):
        wrong = find_rule(name)
        try:
            for mistake in mistakes:
                wrong = damaged(wrong, mistake)
        except LookupError:  # the first mistake has taken away what the second one changes
            continue
        yield tuple(mistake.name for mistake in mistakes), wrong


def _agrees(wrong: Rule, recordings: Sequence[Recording], *, trusted: bool) -> bool:
    try:
        return agrees(wrong, recordings, trusted=trusted)
    except (ArithmeticError, RuntimeError):  # what two mistakes make of a rule need not be computable
        return False
