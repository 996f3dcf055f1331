"""A rule's function taken apart as a syntax tree, and a changed tree made a function again."""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import textwrap
from typing import TYPE_CHECKING

from optitrace import functions
from optitrace.errors import UsageError
from optitrace.functions import FUNCTIONS, Extent

if TYPE_CHECKING:
    from optitrace.rules.rule import Rule, RuleFunction


def definition(function: RuleFunction) -> ast.FunctionDef:
    """Return the function's definition, without its decorators."""
    statement = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(statement, ast.FunctionDef):
        raise UsageError(f"{function.__qualname__} is not a rule: a rule is defined by def.")
    statement.decorator_list.clear()
    return statement


def called(rule: Rule) -> frozenset[str]:
    """Return the names of the functions that a rule calls."""
    calls = (node.func for node in ast.walk(definition(rule.function)) if isinstance(node, ast.Call))
    return frozenset(function.id for function in calls if isinstance(function, ast.Name))


def extent(rule: Rule) -> Extent:
    """Return what a rule must see whole: a weight alone, a vector of them, or a matrix.

    >>> from optitrace.rules.catalogue import find
    >>> [extent(find(name).rule) for name in ("adam", "adafactor", "muon")]
    ['weight', 'vector', 'matrix']
    """
    extents = {FUNCTIONS[name].extent for name in called(rule) if name in FUNCTIONS}
    widest: tuple[Extent, ...] = ("matrix", "vector", "weight")
    return next((each for each in widest if each in extents), "weight")


def compiled(changed: ast.FunctionDef, original: RuleFunction, title: str) -> RuleFunction:
    """Return the function that `changed` defines, among the names of `original` and of `optitrace.functions`.

    Its source is kept under `title`, so that `inspect.getsource`, and with it every reader of rules,
    works on it as on a function from a file.
    """
    source = ast.unparse(changed) + "\n"
    file_name = f"<{title}>"
    linecache.cache[file_name] = (len(source), None, source.splitlines(keepends=True), file_name)
    code = compile(source, file_name, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    names = {**vars(functions), **original.__globals__}
    exec(code, names)
    function: RuleFunction = names[changed.name]
    return function


def replaced(tree: ast.FunctionDef, piece: str, stead: str) -> ast.FunctionDef:
    """Return a copy of a definition in which `stead` stands wherever `piece` stood.

    Both are Python: an expression, or statements, of which `stead` may be none. They are compared as
    syntax trees, so spaces, brackets and line breaks do not matter.

    Raises:
        LookupError: `piece` does not occur.
    """
    replacement = _Replacement(piece, stead)
    changed = replacement.visit(ast.parse(ast.unparse(tree)).body[0])
    if not replacement.found:
        raise LookupError(f"{tree.name} has no '{piece}'")
    assert isinstance(changed, ast.FunctionDef)
    return changed


class _Replacement(ast.NodeTransformer):
    """Replaces one piece of source by another, and records whether it was there."""

    def __init__(self, piece: str, stead: str) -> None:
        self.stead = stead
        self.piece = ast.parse(piece).body
        self.expression = self.piece[0].value if isinstance(self.piece[0], ast.Expr) else None
        self.dumped = [ast.dump(statement) for statement in self.piece]
        self.found = False

    def visit(self, node: ast.AST) -> ast.AST:
        if (
            isinstance(node, ast.expr)
            and type(node) is type(self.expression)
            and self._is_here([ast.Expr(node)])
        ):
            self.found = True
            return ast.parse(self.stead, mode="eval").body
        self.generic_visit(node)
        for block in ("body", "orelse"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                left = self._in_block(statements)
                # a guard whose only line is left out
                setattr(node, block, left or [ast.Pass()] if block == "body" else left)
        return node

    def _in_block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        length = len(self.piece)
        for start in range(len(statements) - length + 1):
            if self._is_here(statements[start : start + length]):
                self.found = True
                after = self._in_block(statements[start + length :])
                return [*statements[:start], *ast.parse(self.stead).body, *after]
        return statements

    def _is_here(self, statements: list[ast.stmt]) -> bool:
        return all(
            type(statement) is type(part) and ast.dump(statement) == dumped
            for statement, part, dumped in zip(statements, self.piece, self.dumped, strict=True)
        )
