"""What remains of a rule once some of its arguments have a fixed value: AdamW is Adam so folded."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any


class Folding(ast.NodeTransformer):
    """Puts values in place of names, and leaves out what they decide against.

    Args:
        fixed: the values, by name.
    """

    def __init__(self, fixed: Mapping[str, Any]) -> None:
        self.fixed = fixed

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Return what remains of statements; nothing of a docstring."""
        return [part for statement in statements for part in self._statement(statement)]

    def visit(self, node: ast.AST) -> Any:
        """Return what remains of an expression, or of a statement without statements in it."""
        match node:
            case ast.Name(name) if name in self.fixed:
                return ast.Constant(self.fixed[name])
            case ast.UnaryOp(ast.Not(), operand):
                remaining = self.visit(operand)
                decided = isinstance(remaining, ast.Constant)
                return ast.Constant(not remaining.value) if decided else ast.UnaryOp(ast.Not(), remaining)
            case ast.BoolOp(operator, values):
                return _junction(operator, [self.visit(value) for value in values])
            case ast.IfExp(condition, then, otherwise):
                test = self.visit(condition)
                if isinstance(test, ast.Constant):
                    return self.visit(then if test.value else otherwise)
                return ast.IfExp(test, self.visit(then), self.visit(otherwise))
        return self.generic_visit(node)

    def _statement(self, node: ast.stmt) -> list[ast.stmt]:
        if isinstance(node, ast.Expr):
            return []
        if not isinstance(node, ast.If):
            return [self.visit(node)]
        test, then, otherwise = self.visit(node.test), self.block(node.body), self.block(node.orelse)
        if isinstance(test, ast.Constant):
            return then if test.value else otherwise
        return [ast.If(test, then, otherwise)] if then or otherwise else []


def _junction(operator: ast.boolop, values: list[ast.expr]) -> ast.expr:
    """Return what remains of conditions joined by ``and`` or ``or``."""
    neutral = isinstance(operator, ast.And)
    if any(isinstance(value, ast.Constant) and bool(value.value) is not neutral for value in values):
        return ast.Constant(not neutral)
    remaining = [value for value in values if not isinstance(value, ast.Constant)]
    if len(remaining) > 1:
        return ast.BoolOp(operator, remaining)
    return remaining[0] if remaining else ast.Constant(neutral)
