"""How much of the weights a rule looks at to move one of them: told from the functions that it calls."""

from __future__ import annotations

import ast
from typing import Literal

from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import definition

Extent = Literal["weight", "vector", "matrix"]

OF_VECTORS = frozenset({"rms"})
"""The functions of the arithmetic that look at a whole vector."""

OF_MATRICES = frozenset({"norm", "transpose", "rows", "columns"})
"""Those that look at a whole matrix."""


def extent(rule: Rule) -> Extent:
    """Return what a rule must see whole: a weight alone, a vector of them, or a matrix.

    >>> from optitrace.rules.catalogue import find
    >>> [extent(find(name).rule) for name in ("adam", "adafactor", "muon")]
    ['weight', 'vector', 'matrix']
    """
    calls = called(rule)
    if calls & OF_MATRICES:
        return "matrix"
    return "vector" if calls & OF_VECTORS else "weight"


def called(rule: Rule) -> frozenset[str]:
    """Return the names of the functions that a rule calls."""
    calls = (node.func for node in ast.walk(definition(rule.function)) if isinstance(node, ast.Call))
    return frozenset(function.id for function in calls if isinstance(function, ast.Name))
