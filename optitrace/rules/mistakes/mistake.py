"""The mistake: what stands in a rule's source in the stead of what should."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from optitrace.rules.rule import Rule, RuleFunction
from optitrace.rules.source_patching import compiled, definition, replaced


@dataclass(frozen=True, slots=True)
class Mistake:
    """One way in which a rule is commonly got wrong.

    Attributes:
        name: a clause that completes the sentence "agrees with adam if ...".
        changes: pieces of the rule's source, and what stands in the stead of each wherever it occurs:
            expressions, or statements; no statement at all if empty. They are made in this order.
    """

    name: str
    changes: Mapping[str, str] = field(hash=False)


def damaged(rule: Rule, *mistakes: Mistake) -> Rule:
    """Return the rule with mistakes in it, made in this order.

    Raises:
        LookupError: the rule has no such piece, so the mistake does not fit it, or no longer does.
    """
    tree = _tree(rule.function, mistakes)
    clause = " and ".join(mistake.name for mistake in mistakes)
    return replace(rule, function=compiled(tree, rule.function, f"{rule.name} if {clause}"))


def _tree(function: RuleFunction, mistakes: tuple[Mistake, ...]) -> ast.FunctionDef:
    if not mistakes:
        return definition(function)
    *before, last = mistakes
    tree = _kept_tree(function, tuple(before))
    for piece, stead in last.changes.items():
        tree = replaced(tree, piece, stead)
    return tree


_kept_tree = lru_cache(maxsize=1)(_tree)
"""The same for a mistake that many others are put beside, one after the other."""
