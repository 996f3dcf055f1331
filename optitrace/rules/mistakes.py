"""The classic mistakes in rules, so that a departure from one can be given its likely cause.

Each is data: what it is called, and which piece of the rule's source is replaced by what. Those of one rule
stand with it; those that many rules share stand here. A test makes every one of them and shows that the
check of torch against the rule notices it. Smaller ones, which have no name, are derived from the rule's
lines: see `optitrace.rules.line_changes`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeAlias

from optitrace.rules.rule import Rule, RuleFunction
from optitrace.rules.source_patching import compiled, definition, replaced


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

MISTAKES: dict[str, tuple[Mistake, ...]] = {}
"""What implementers get wrong, by the name of the rule."""


def add_mistakes(rule: Rule, mistakes: MistakeTable) -> None:
    """Make mistakes known that implementers of a rule make."""
    made = (Mistake(name, changes) for name, changes in mistakes.items())
    MISTAKES[rule.name] = (*MISTAKES.get(rule.name, ()), *made)


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


_SIGN = "if maximize: g = -g"
_PENALTY = "if weight_decay: g = g + weight_decay * w"
_COUPLED = "if weight_decay and not decoupled_weight_decay: g = g + weight_decay * w"
_DECOUPLED = "if weight_decay and decoupled_weight_decay: w = w - lr * weight_decay * w"

NO_MAXIMIZE = {
    "maximize does not turn the gradient's sign": {_SIGN: ""},
}

PENALTY = {
    "weight decay is left out": {_PENALTY: ""},
    "weight decay is added before maximize turns the sign": {_SIGN: "", _PENALTY: f"{_PENALTY}\n{_SIGN}"},
    "weight decay shrinks the weights instead of joining the gradient": {
        "g = g + weight_decay * w": "w = w - lr * weight_decay * w"
    },
    "weight decay counts twice, as if its penalty had no factor of one half": {
        "weight_decay * w": "2 * weight_decay * w"
    },
}
"""Mistakes in a weight decay that always joins the gradient."""

COUPLED = {
    "weight decay shrinks the weights instead of joining the gradient": {
        _COUPLED: "",
        _DECOUPLED: "if weight_decay: w = w - lr * weight_decay * w",
    },
    "weight decay is added before maximize turns the sign": {_SIGN: "", _COUPLED: f"{_COUPLED}\n{_SIGN}"},
    "weight decay is left out": {_COUPLED: "", _DECOUPLED: ""},
}
"""Mistakes in a weight decay that joins the gradient unless it is decoupled."""


def decoupled(update: str) -> MistakeTable:
    """Return the mistakes in a decoupled weight decay, in a rule whose last line is `update`."""
    return {
        "weight decay is not scaled by lr": {"w = w - lr * weight_decay * w": "w = w - weight_decay * w"},
        "weight decay joins the gradient instead of shrinking the weights": {
            _COUPLED: "",
            _DECOUPLED: "if weight_decay: g = g + weight_decay * w",
        },
        "weight decay comes after the step": {_DECOUPLED: "", update: f"{update}\n{_DECOUPLED}"},
    }


MOMENTS = {
    "the two betas are swapped": {"beta1, beta2 = betas": "beta2, beta1 = betas"},
    "exp_avg adds the gradient without the factor 1 - beta1": {"(1 - beta1) * g": "g"},
    "exp_avg_sq adds the squared gradient without the factor 1 - beta2": {"(1 - beta2) * g**2": "g**2"},
}
"""Mistakes in the running means of the gradient and of its square."""
