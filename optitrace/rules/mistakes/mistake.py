"""The mistake: what stands in a rule's source in the stead of what should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from optitrace.rules.rewriting import compiled, definition, replaced
from optitrace.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Mistake:
    """One way in which a rule is commonly got wrong.

    Attributes:
        name: a clause that completes the sentence "agrees with adam if ...".
        changes: pieces of the rule's source, and what stands in the stead of each wherever it occurs:
            expressions, or statements; no statement at all if empty. They are made in this order.
    """

    name: str
    changes: Mapping[str, str]


def damaged(rule: Rule, mistake: Mistake) -> Rule:
    """Return the rule with the mistake in it.

    Raises:
        LookupError: the rule has no such piece, so the mistake no longer fits it.
    """
    tree = definition(rule.function)
    for piece, stead in mistake.changes.items():
        tree = replaced(tree, piece, stead)
    return replace(rule, function=compiled(tree, rule.function, f"{rule.name} if {mistake.name}"))
