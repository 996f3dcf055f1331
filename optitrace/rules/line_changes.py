"""A rule with one line changed: opened, so that its result can be replaced, or with a small mistake in it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from typing import Any, TypeAlias

from optitrace.functions import Number
from optitrace.rules.mistakes import Mistake
from optitrace.rules.reader.notation import UNICODE, conditional, write_names
from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import compiled, definition

_PUT = "put"

Mistaken: TypeAlias = Callable[[str], Iterator[ast.expr]]
"""Returns what may stand by mistake where a name should."""


@dataclass(frozen=True, slots=True)
class OpenLine:
    """One line of a rule.

    Attributes:
        text: the line as mathematics: ``m = β₁·m + (1 − β₁)·g``.
        rule: the rule, which takes one more hyperparameter, a function that is given the line's result
            and returns what stands in its place.
    """

    text: str
    rule: Rule

    def step(self, put: Callable[[Any], Any], *arguments: Any, **hyperparameters: Any) -> tuple[Number, ...]:
        """Take one step, as the rule does, with the line's result replaced by what `put` makes of it."""
        return self.rule(*arguments, **hyperparameters, **{_PUT: put})


@cache
def open_lines(rule: Rule) -> tuple[OpenLine, ...]:
    """Return every line of a rule that gives a value to one symbol.

    >>> from optitrace.rules.families.gradient_descent import sgd
    >>> last = open_lines(sgd)[-1]
    >>> last.text, last.step(lambda w: w + 1, 1.0, 2.0, 1, None, lr=0.1)[0]
    ('w = w − lr·g', 1.8)
    """
    count = len(list(assignments(definition(rule.function).body)))
    return tuple(_opened(rule, number) for number in range(count))


def line_of(function: ast.FunctionDef, assignment: ast.Assign) -> str:
    """Return a line of a rule as mathematics."""
    kept = {argument.arg for argument in function.args.kwonlyargs}
    [target] = assignment.targets
    assert isinstance(target, ast.Name)
    return f"{write_names(target, UNICODE, kept)} = {write_names(assignment.value, UNICODE, kept)}"


def assignments(statements: Sequence[ast.stmt]) -> Iterator[ast.Assign]:
    """Yield the lines that give a value to one symbol, in their order."""
    for statement in statements:
        match statement:
            case ast.Assign([ast.Name()]):
                yield statement
            case ast.If() | ast.For():
                yield from assignments([*statement.body, *statement.orelse])


@cache
def derived_mistakes(rule: Rule) -> tuple[Mistake, ...]:
    """Return every small change of one line of a rule.

    A name is replaced by a related one (beta1 and beta2, v and v_hat), the step number by the one before
    or after, an operand or a function is left out, a sum becomes a difference, a line is left out or
    exchanged with the next one.

    >>> from optitrace.rules.families.gradient_descent import sgd
    >>> print(derived_mistakes(sgd)[-1].name)
    b = g if t = 1 else momentum·b + (1 − dampening)·g comes after g = g + momentum·b if nesterov else b
    """
    found: dict[tuple[str, str], Mistake] = {}
    for mistake in _mistakes(definition(rule.function)):
        [(piece, substitute)] = mistake.changes.items()
        found.setdefault((piece, substitute), mistake)
    return tuple(found.values())


def _opened(rule: Rule, number: int) -> OpenLine:
    function = definition(rule.function)
    line = list(assignments(function.body))[number]
    text = line_of(function, line)
    line.value = ast.Call(ast.Name(_PUT, ast.Load()), [line.value], [])
    function.args.kwonlyargs.append(ast.arg(_PUT))
    function.args.kw_defaults.append(None)
    opened = compiled(function, rule.function, f"{rule.name} with line {number + 1} open")
    return OpenLine(text, replace(rule, function=opened))


def _mistakes(function: ast.FunctionDef) -> Iterator[Mistake]:
    families = _families(function)
    step = function.args.args[2].arg
    for line in assignments(function.body):
        told, source = line_of(function, line), ast.unparse(line)
        for value in _changed(line.value, partial(_mistaken_for, families, step)):
            changed = ast.Assign(line.targets, value, lineno=0)
            if ast.dump(changed.value) != ast.dump(line.value):
                substitute = f"{told} is replaced by {line_of(function, changed)}"
                yield Mistake(substitute, {source: ast.unparse(changed)})
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
        for substitute in _substitutes(part, mistaken_for):
            copy = deepcopy(node)
            changed: ast.expr = _Exchange([*_parts(copy)][place], substitute).visit(copy)
            yield changed


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the expressions in an expression, but not the names of functions."""
    called = {id(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
    return (part for part in ast.walk(node) if isinstance(part, ast.expr) and id(part) not in called)


def _mistaken_for(families: Collection[frozenset[str]], step: str, name: str) -> Iterator[ast.expr]:
    texts = [f"{step} + 1", f"{step} - 1"] if name == step else []
    texts += [other for family in families if name in family for other in sorted(family - {name})]
    yield from (ast.parse(text, mode="eval").body for text in texts)


def _substitutes(part: ast.expr, mistaken_for: Mistaken) -> Iterator[ast.expr]:
    """Yield what may stand by mistake where a part of an expression should."""
    if parts := conditional(part):
        yield from parts[1:]
        return
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
        case ast.Call(_, arguments):
            yield from arguments


class _Renaming(ast.NodeTransformer):
    """Puts an expression in the place of a name."""

    def __init__(self, name: str, substitute: ast.expr) -> None:
        self.name = name
        self.substitute = substitute

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return deepcopy(self.substitute) if node.id == self.name else node


class _Exchange(ast.NodeTransformer):
    """Puts an expression in the place of one node."""

    def __init__(self, node: ast.expr, substitute: ast.expr) -> None:
        self.node = node
        self.substitute = substitute

    def visit(self, node: ast.AST) -> Any:
        return deepcopy(self.substitute) if node is self.node else self.generic_visit(node)
