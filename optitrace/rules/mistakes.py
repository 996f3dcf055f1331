"""The classic mistakes in rules, so that a departure from one can be given its likely cause.

Each is data: what it is called, and which piece of the rule's source is replaced by what. Nearly all are
derived from the rule (`optitrace.rules.mistake_derivation`); the few that cannot be are written beside it. A
test makes every one of them and shows that the check of torch against the rule notices it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeAlias

from optitrace.rules.rule import Rule, RuleFunction
from optitrace.rules.source_patching import compiled, definition, function_of, replaced


@dataclass(frozen=True, slots=True)
class Mistake:
    """One way in which a rule is commonly got wrong.

    Attributes:
        name: a clause that completes the sentence "agrees with adam if ...".
        changes: pieces of the rule's source, and what stands instead of each wherever it occurs:
            expressions, or statements; no statement at all if empty. They are made in this order.
    """

    name: str
    changes: Mapping[str, str] = field(hash=False)


MistakeTable: TypeAlias = "Mapping[str, Mapping[str, str]]"
"""Mistakes as rules write them: the changes of each, by its name."""

ADDED_MISTAKES: dict[str, tuple[Mistake, ...]] = {}
"""What implementers get wrong and what cannot be derived, by the name of the rule."""


def add_mistakes(rule: Rule, mistakes: MistakeTable) -> None:
    """Make mistakes known that implementers of a rule make and that cannot be derived from it."""
    made = (Mistake(name, changes) for name, changes in mistakes.items())
    ADDED_MISTAKES[rule.name] = (*ADDED_MISTAKES.get(rule.name, ()), *made)


def damaged(rule: Rule, *mistakes: Mistake) -> Rule:
    """Return the rule with mistakes in it, made in this order; it can be read as any other.

    Raises:
        LookupError: the rule has no such piece, so the mistake does not fit it, or no longer does.
    """
    clause = " and ".join(mistake.name for mistake in mistakes)
    tree = _tree(rule.function, mistakes)
    return replace(rule, function=compiled(tree, rule.function, f"{rule.name} if {clause}"))


def damaged_function(rule: Rule, *mistakes: Mistake) -> RuleFunction:
    """Return the function of that rule, which is to be called and not read.

    Raises:
        LookupError: as `damaged` does.
    """
    return function_of(_tree(rule.function, mistakes), rule.function)


def _tree(function: RuleFunction, mistakes: tuple[Mistake, ...]) -> ast.FunctionDef:
    if not mistakes:
        return definition(function)
    *before, last = mistakes
    tree = _kept_tree(function, tuple(before))
    for piece, stead in last.changes.items():
        tree = replaced(tree, piece, stead)
    return tree


_kept_tree = lru_cache(maxsize=2)(_tree)
"""The same for what many mistakes are made in, one after the other: the rule, or one with a mistake."""
