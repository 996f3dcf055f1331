"""The conditions in a rule: where they stand, their opposites, and which of them tell something."""

from __future__ import annotations

import ast
from collections.abc import Sequence

OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
}


def conditional(node: ast.AST) -> tuple[ast.expr, ast.expr, ast.expr] | None:
    """Return the condition and the two branches of a conditional expression; None for any other."""
    match node:
        case ast.IfExp(condition, then, otherwise):
            return condition, then, otherwise
        case ast.Call(ast.Name("where"), [condition, then, otherwise]):
            return condition, then, otherwise
    return None


def names_in(node: ast.AST) -> frozenset[str]:
    """Return the symbols in an expression."""
    called = {part.func for part in ast.walk(node) if isinstance(part, ast.Call)}
    return frozenset(p.id for p in ast.walk(node) if isinstance(p, ast.Name) and p not in called)


def negated(node: ast.expr) -> ast.expr:
    """Return the opposite of a condition.

    >>> ast.unparse(negated(ast.parse("a > b", mode="eval").body))
    'a <= b'
    """
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITES:
        return ast.Compare(node.left, [OPPOSITES[type(node.ops[0])]()], node.comparators)
    return ast.UnaryOp(ast.Not(), node)


def telling(conditions: Sequence[ast.expr]) -> list[ast.expr]:
    """Return, of the conditions that hold, those that tell why a branch was taken.

    That two numbers differ is the general case and tells nothing. Of several conditions on the same two
    numbers, the last says what those before it say, but that neither is the greater says that they are
    equal.
    """
    told: list[ast.expr] = []
    for node in conditions:
        earlier = next((other for other in told if _sides(other) == _sides(node)), None)
        if earlier is not None:
            told.remove(earlier)
        if {_operator(earlier), _operator(node)} == {ast.LtE, ast.GtE} and isinstance(node, ast.Compare):
            told.append(ast.Compare(node.left, [ast.Eq()], node.comparators))
        elif _operator(node) is not ast.NotEq:
            told.append(node)
    return told


def _operator(node: ast.expr | None) -> type[ast.cmpop] | None:
    return type(node.ops[0]) if isinstance(node, ast.Compare) else None


def _sides(node: ast.expr) -> str:
    return ast.dump(ast.Tuple([node.left, *node.comparators])) if isinstance(node, ast.Compare) else ""
