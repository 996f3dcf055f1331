"""The small changes of one line that can be made in any rule, derived from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import deepcopy
from functools import cache, partial
from itertools import pairwise
from typing import Any, TypeAlias

from optitrace.rules.mistakes.mistake import Mistake
from optitrace.rules.open_line import assignments, line_of
from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import definition

Mistaken: TypeAlias = Callable[[str], Iterator[ast.expr]]
"""Returns what may stand by mistake where a name should."""


@cache
def derived_mistakes(rule: Rule) -> tuple[Mistake, ...]:
    """Return every small change of one line of a rule.

    A name is replaced by a related one (beta1 and beta2, v and v_hat), the step number by the one before
    or after, an operand or a function is left out, a sum becomes a difference, a line is left out or
    exchanged with the next one.

    >>> from optitrace.rules.gradient_descent import sgd
    >>> print(derived_mistakes(sgd)[-1].name)
    b = g if t = 1 else momentum·b + (1 − dampening)·g comes after g = g + momentum·b if nesterov else b
    """
    found: dict[tuple[str, str], Mistake] = {}
    for mistake in _mistakes(definition(rule.function)):
        [(piece, stead)] = mistake.changes.items()
        found.setdefault((piece, stead), mistake)
    return tuple(found.values())


def _mistakes(function: ast.FunctionDef) -> Iterator[Mistake]:
    families = _families(function)
    step = function.args.args[2].arg
    for line in assignments(function.body):
        told, source = line_of(function, line), ast.unparse(line)
        for value in _changed(line.value, partial(_mistaken_for, families, step)):
            changed = ast.Assign(line.targets, value, lineno=0)
            if ast.dump(changed.value) != ast.dump(line.value):
                stead = f"{told} is replaced by {line_of(function, changed)}"
                yield Mistake(stead, {source: ast.unparse(changed)})
        yield Mistake(f"{told} is left out", {source: ""})
    for first, second in _neighbours(function.body):
        one, other = ast.unparse(first), ast.unparse(second)
        clause = f"{line_of(function, first)} comes after {line_of(function, second)}"
        yield Mistake(clause, {f"{one}\n{other}": f"{other}\n{one}"})


def _neighbours(statements: Sequence[ast.stmt]) -> Iterator[tuple[ast.Assign, ast.Assign]]:
    """Yield each two lines of which the second directly follows the first."""
    for first, second in pairwise(statements):
        match first, second:
            case ast.Assign([ast.Name()]), ast.Assign([ast.Name()]):
                yield first, second
    for statement in statements:
        if isinstance(statement, ast.If | ast.For):
            yield from _neighbours(statement.body)
            yield from _neighbours(statement.orelse)


def _families(function: ast.FunctionDef) -> tuple[frozenset[str], ...]:
    """Return the names that can be mistaken for each other: of one tuple, or of one stem as v and v_hat."""
    unpacked = [
        frozenset(ast.unparse(element) for element in elements)
        for statement in function.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Tuple)
        for elements in [target.elts]
    ]
    names = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
    names |= {ast.unparse(line.targets[0]) for line in assignments(function.body)}
    stems = sorted({name.partition("_")[0] for name in names})
    return (*unpacked, *(frozenset(n for n in names if n.partition("_")[0] == stem) for stem in stems))


def _changed(node: ast.expr, mistaken_for: Mistaken) -> Iterator[ast.expr]:
    """Yield an expression with each small change, one at a time, and with a name changed everywhere."""
    for name in sorted({part.id for part in ast.walk(node) if isinstance(part, ast.Name)}):
        for other in mistaken_for(name):
            yield _Renaming(name, other).visit(deepcopy(node))
    for place, part in enumerate(_parts(node)):
        for stead in _steads(part, mistaken_for):
            copy = deepcopy(node)
            changed: ast.expr = _Exchange([*_parts(copy)][place], stead).visit(copy)
            yield changed


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the expressions in an expression, but not the names of functions."""
    called = {id(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
    return (part for part in ast.walk(node) if isinstance(part, ast.expr) and id(part) not in called)


def _mistaken_for(families: Collection[frozenset[str]], step: str, name: str) -> Iterator[ast.expr]:
    texts = [f"{step} + 1", f"{step} - 1"] if name == step else []
    texts += [other for family in families if name in family for other in sorted(family - {name})]
    yield from (ast.parse(text, mode="eval").body for text in texts)


def _steads(part: ast.expr, mistaken_for: Mistaken) -> Iterator[ast.expr]:
    """Yield what may stand by mistake where a part of an expression should."""
    match part:
        case ast.Name(name):
            yield from mistaken_for(name)
        case ast.BinOp(left, operator, right):
            yield left
            if not isinstance(operator, ast.Div | ast.Pow | ast.Sub):
                yield right
            if isinstance(operator, ast.Add | ast.Sub):
                yield ast.BinOp(left, ast.Sub() if isinstance(operator, ast.Add) else ast.Add(), right)
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.IfExp(_, then, otherwise):
            yield from (then, otherwise)
        case ast.Call(ast.Name("where"), [_, then, otherwise]):
            yield from (then, otherwise)
        case ast.Call(_, arguments):
            yield from arguments


class _Renaming(ast.NodeTransformer):
    """Puts an expression in the place of a name."""

    def __init__(self, name: str, stead: ast.expr) -> None:
        self.name = name
        self.stead = stead

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return deepcopy(self.stead) if node.id == self.name else node


class _Exchange(ast.NodeTransformer):
    """Puts an expression in the place of one node."""

    def __init__(self, node: ast.expr, stead: ast.expr) -> None:
        self.node = node
        self.stead = stead

    def visit(self, node: ast.AST) -> Any:
        return deepcopy(self.stead) if node is self.node else self.generic_visit(node)
