"""A rule's function taken apart as a syntax tree, and a changed tree made a function again."""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import operator
import textwrap
from copy import copy
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from optitrace import functions
from optitrace.errors import UsageError
from optitrace.functions import FUNCTIONS, Extent
from optitrace.rules.rule import takes_matrices

if TYPE_CHECKING:
    from optitrace.rules.rule import Rule, RuleFunction

_Node = TypeVar("_Node", bound=ast.AST)


def definition(function: RuleFunction) -> ast.FunctionDef:
    """Return the function's definition, without its decorators."""
    statement = ast.parse(_source(function)).body[0]
    if not isinstance(statement, ast.FunctionDef):
        raise UsageError(f"{function.__qualname__} is not a rule: a rule is defined by def.")
    statement.decorator_list.clear()
    return statement


def called(rule: Rule) -> frozenset[str]:
    """Return the names of the functions that a rule calls."""
    calls = (node.func for node in ast.walk(definition(rule.function)) if isinstance(node, ast.Call))
    return frozenset(function.id for function in calls if isinstance(function, ast.Name))


@cache
def extent(rule: Rule) -> Extent:
    """Return what a rule must see whole: a weight alone, a parameter as a vector, or a matrix.

    Which rules take a matrix is declared by the type of the weights; the rest follows from what they call.

    >>> from optitrace.rules.catalogue import find
    >>> [extent(find(name).rule) for name in ("adam", "adafactor", "muon")]
    ['weight', 'vector', 'matrix']
    """
    if takes_matrices(rule.function):
        return "matrix"
    is_whole = any(FUNCTIONS[name].extent != "weight" for name in called(rule) if name in FUNCTIONS)
    return "vector" if is_whole else "weight"


@lru_cache(maxsize=64)
def _source(function: RuleFunction) -> str:
    return textwrap.dedent(inspect.getsource(function))


def compiled(changed: ast.FunctionDef, original: RuleFunction, title: str) -> RuleFunction:
    """Return the function that `changed` defines, among the names of `original` and of `optitrace.functions`.

    Its source is kept under `title`, so that `inspect.getsource`, and with it every reader of rules,
    works on it as on a function from a file.
    """
    source = ast.unparse(changed) + "\n"
    file_name = f"<{title}>"
    linecache.cache[file_name] = (len(source), None, source.splitlines(keepends=True), file_name)
    return _executed(source, original, changed.name, file_name)


def function_of(changed: ast.FunctionDef, original: RuleFunction) -> RuleFunction:
    """Return the same function, whose source cannot be read; this takes a fifth of the time."""
    return _executed(ast.Module([changed], []), original, changed.name, f"<{changed.name}>")


def _executed(source: str | ast.Module, original: RuleFunction, name: str, file_name: str) -> RuleFunction:
    code = compile(source, file_name, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    names = {**vars(functions), **original.__globals__}
    exec(code, names)
    function: RuleFunction = names[name]
    return function


def replaced(tree: ast.FunctionDef, piece: str, stead: str) -> ast.FunctionDef:
    """Return a copy of a definition in which `stead` stands wherever `piece` stood.

    Both are Python: an expression, or statements, of which `stead` may be none. They are compared as
    syntax trees, so spaces, brackets and line breaks do not matter.

    Raises:
        LookupError: `piece` does not occur.
    """
    replacement = _Replacement(piece, stead)
    changed = replacement.rebuilt(tree)
    if not replacement.found:
        raise LookupError(f"{tree.name} has no '{piece}'")
    return changed


class _Replacement:
    """Replaces one piece of source by another, and records whether it was there."""

    def __init__(self, piece: str, stead: str) -> None:
        self.stead = stead
        self.piece = ast.parse(piece).body
        self.expression = self.piece[0].value if isinstance(self.piece[0], ast.Expr) else None
        self.found = False

    def rebuilt(self, node: _Node) -> _Node:
        """Return a node with the piece replaced in it; what does not change is shared."""
        changes = {
            name: new for name, old in ast.iter_fields(node) if (new := self._field(name, old)) is not old
        }
        if not changes:
            return node
        changed = copy(node)
        for name, new in changes.items():
            setattr(changed, name, new)
        return changed

    def _field(self, name: str, old: Any) -> Any:
        """Return a field of a node with the piece replaced in it; the same object if nothing changes."""
        if isinstance(old, list):
            new = [self._field(name, each) for each in old]
            if old and isinstance(old[0], ast.stmt):
                # a guard whose only line is left out
                new = self._in_block(new) or (ast.parse("pass").body if name == "body" else [])
            return old if len(new) == len(old) and all(map(operator.is_, new, old)) else new
        if isinstance(old, ast.expr):
            if self.expression is None:
                return old
            if _is_same(old, self.expression):
                self.found = True
                return ast.parse(self.stead, mode="eval").body
        return self.rebuilt(old) if isinstance(old, ast.AST) else old

    def _in_block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        length = len(self.piece)
        for start in range(len(statements) - length + 1):
            if all(map(_is_same, statements[start : start + length], self.piece)):
                self.found = True
                after = self._in_block(statements[start + length :])
                return [*statements[:start], *ast.parse(self.stead).body, *after]
        return statements


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two pieces of syntax trees are written in the same way."""
    if type(one) is not type(other):
        return False
    if isinstance(one, ast.AST):
        return all(_is_same(value, getattr(other, name, None)) for name, value in ast.iter_fields(one))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)
