"""A rule's function, parsed into assignments, guards and loops; everything else in it is refused."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, TypeAlias

from optitrace.errors import UsageError
from optitrace.functions import FUNCTIONS
from optitrace.rules.reader.assignments import Assignment
from optitrace.rules.reader.calculation import Calculation, compile_expression
from optitrace.rules.rule import Rule, RuleFunction, takes_matrices
from optitrace.rules.source_patching import definition
from optitrace.text import listed

Statement: TypeAlias = "Assignment | Unpacking | Guard | Loop"

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.MatMult)

_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot)

FIRST_OF_STATE = 3
"""How many parameters of a rule stand before its state: the weights, the gradient and the step number."""

MAY_CONTAIN = (
    "assignments to symbols, if, for _ in range(hyperparameter), + - * / ** @, comparisons, A if B else C, "
    "and of optitrace.functions"
)
"""The allowed contents of a rule, before the list of functions."""


@dataclass(frozen=True)
class Unpacking:
    """A line that gives names to the numbers in a hyperparameter: ``beta1, beta2 = betas``.

    Attributes:
        symbols: the names.
        source: the hyperparameter.
        function: the name of the function that is applied to it, ``float32``; empty where there is none.
        apply: that function.
    """

    symbols: tuple[str, ...]
    source: str
    function: str = ""
    apply: Callable[[Any], Any] = tuple


@dataclass(frozen=True)
class Guard:
    """Lines that count only under a condition on the settings."""

    node: ast.expr
    condition: Calculation
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True)
class Loop:
    """Lines that are repeated."""

    count: str
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Body:
    """A rule's function.

    Attributes:
        arguments: its positional parameters: weights, gradient, step number, and the state's symbols.
        hyperparameters: its keyword-only parameters.
        statements: its lines.
        returned: the symbols that it returns.
        is_of_matrices: whether the weights are a matrix.
    """

    arguments: tuple[str, ...]
    hyperparameters: frozenset[str]
    statements: tuple[Statement, ...]
    returned: tuple[str, ...]
    is_of_matrices: bool


@cache
def parse(rule_function: RuleFunction, fixed: tuple[tuple[str, Any], ...]) -> Body:
    """Take a rule's function apart, leaving out what its fixed arguments rule out.

    Raises:
        UsageError: the function contains something that cannot be read.
    """
    function = definition(rule_function)
    check_readable(function, rule_function)
    *nodes, returned = _Folding(dict(fixed)).block(function.body)
    assert isinstance(returned, ast.Return)
    assert isinstance(returned.value, ast.Tuple)
    hyperparameters = frozenset(argument.arg for argument in function.args.kwonlyargs)
    return Body(
        arguments=tuple(argument.arg for argument in function.args.args),
        hyperparameters=hyperparameters,
        statements=_read_all(nodes, hyperparameters),
        returned=tuple(ast.unparse(element) for element in returned.value.elts),
        is_of_matrices=takes_matrices(rule_function),
    )


def _read_all(nodes: Iterable[ast.stmt], hyperparameters: frozenset[str]) -> tuple[Statement, ...]:
    return tuple(_read(node, hyperparameters) for node in nodes)


def _read(node: ast.stmt, hyperparameters: frozenset[str]) -> Statement:
    match node:
        case ast.Assign([ast.Name(symbol)], value):
            return Assignment(symbol, value, hyperparameters)
        case ast.Assign([ast.Tuple(elements)], ast.Name(source)):
            return Unpacking(tuple(map(ast.unparse, elements)), source)
        case ast.Assign([ast.Tuple(elements)], ast.Call(ast.Name(function), [ast.Name(source)])):
            return Unpacking(tuple(map(ast.unparse, elements)), source, function, FUNCTIONS[function].compute)
        case ast.If(test, then, otherwise):
            return Guard(
                test,
                compile_expression(test),
                _read_all(then, hyperparameters),
                _read_all(otherwise, hyperparameters),
            )
        case ast.For(_, ast.Call(ast.Name(), [ast.Name(count)]), body):
            return Loop(count, _read_all(body, hyperparameters))
    raise AssertionError(ast.unparse(node))  # check_readable knows the same statements


class _Folding(ast.NodeTransformer):
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
        if isinstance(node, ast.Expr | ast.Pass):
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


def check_declaration(rule: Rule) -> None:
    """Check that a rule's function takes and returns what is declared of it.

    Raises:
        UsageError: it does not.
    """
    original, function = rule.function, definition(rule.function)
    place, name = _place(original, function), function.name
    taken = [argument.arg for argument in function.args.args]
    if len(taken) < FIRST_OF_STATE:
        raise UsageError(
            f"{place}: {name} takes {_named(taken)}; a rule takes the weights, the gradient, the step number "
            "and then its state, as in 'def lion(w, g, t, exp_avg, *, lr=1e-4)'."
        )
    state, declared = taken[FIRST_OF_STATE:], [entry.symbol for entry in rule.state]
    if state != declared:
        raise UsageError(
            f"{place}: {name} takes {_named(state)} as state and declares {_named(declared)}; declare each "
            "parameter after the step number by a StateEntry, in their order."
        )
    for parameter in rule.parameters:
        if parameter.default is parameter.empty:
            raise UsageError(f"{place}: {parameter.name} has no default; write one, as in '*, lr=1e-3'.")
    settings = {parameter.name for parameter in rule.parameters} | {*rule.fixed}
    for entry in rule.state:
        for other in (entry.when, entry.initial):
            if isinstance(other, str) and other and other not in settings:
                raise UsageError(
                    f"{place}: the state {entry.key} depends on {other}; {name} has no such hyperparameter."
                )
    _check_returned(original, function, [taken[0], *state])


def _check_returned(original: RuleFunction, function: ast.FunctionDef, wanted: list[str]) -> None:
    """Check that a rule that ends by returning values returns the weights and the state, in this order."""
    end = function.body[-1]
    if not isinstance(end, ast.Return) or not isinstance(end.value, ast.Tuple):
        return
    returned = [ast.unparse(element) for element in end.value.elts]
    is_mixed_up = any(r in wanted and r != w for r, w in zip(returned, wanted, strict=False))
    if len(returned) != len(wanted) or is_mixed_up:
        comma = "," if len(wanted) == 1 else ""
        raise UsageError(
            f"{_place(original, end)}: {function.name} returns {listed(returned)}; it must return the new "
            f"weights and then the state, as in 'return {', '.join(wanted)}{comma}'."
        )


def _named(names: list[str]) -> str:
    return listed(names) if names else "nothing"


def check_readable(function: ast.FunctionDef, original: RuleFunction) -> None:
    """Check that a rule contains only what can be read.

    Args:
        function: the rule's function, as `definition` returns it.
        original: the function itself, for its file and the names that it sees.

    Raises:
        UsageError: it contains something else, or something of matrices where its weights are none; it is
            named with its line.
    """
    arguments = (*function.args.args, *function.args.kwonlyargs)
    known = {argument.arg for argument in arguments}
    foreign = {
        name
        for name, declared in FUNCTIONS.items()
        if inspect.unwrap(original.__globals__.get(name, declared.compute)) is not declared.compute
    }
    body = [line for line in function.body if not _is_docstring(line)]
    ends_well = body and isinstance(body[-1], ast.Return) and isinstance(body[-1].value, ast.Tuple)
    if not ends_well:
        raise UsageError(f"{_place(original, function)}: a rule must end by returning its weights and state.")
    found = next(_unreadable(body, known, foreign), None)
    if found is not None:
        raise UsageError(
            f"{_place(original, found)}: a rule cannot contain '{_text(original, found)}'; "
            f"it may contain {MAY_CONTAIN}: {', '.join(sorted(FUNCTIONS))}."
        )
    found = None if takes_matrices(original) else next(_of_matrices(function), None)
    if found is not None:
        raise UsageError(
            f"{_place(original, found)}: '{_text(original, found)}' is of a matrix; annotate the weights, "
            f"{function.args.args[0].arg}: Matrix, with optitrace.functions.Matrix."
        )


def _of_matrices(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield the parts of a rule that only a matrix has."""
    for node in ast.walk(function):
        match node:
            case ast.BinOp(_, ast.MatMult(), _):
                yield node
            case ast.Call(ast.Name(name)) if name in FUNCTIONS and FUNCTIONS[name].extent == "matrix":
                yield node


def _is_docstring(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def _text(original: RuleFunction, node: ast.stmt | ast.expr) -> str:
    """Return the first line of a part of a rule as it was written."""
    source = textwrap.dedent(inspect.getsource(original))
    return (ast.get_source_segment(source, node) or "").partition("\n")[0]


def _place(original: RuleFunction, node: ast.stmt | ast.expr) -> str:
    first = inspect.getsourcelines(original)[1]
    return f"{inspect.getsourcefile(original)}, line {max(first, 1) + node.lineno - 1}"


def _unreadable(lines: list[ast.stmt], known: set[str], foreign: set[str]) -> Iterator[ast.stmt | ast.expr]:
    """Yield what cannot be read; the symbols that lines assign are known from there on."""
    for line in lines:
        match line:
            case ast.Assign([ast.Name(symbol)], value):
                yield from _foreign_to(value, known, foreign)
                known.add(symbol)
            case ast.Assign([ast.Tuple(elements)], (ast.Name() | ast.Call(_, [ast.Name()])) as value):
                yield from _foreign_to(value, known, foreign)
                known.update(map(ast.unparse, elements))
            case ast.If(test, then, otherwise):
                yield from _foreign_to(test, known, foreign)
                yield from _unreadable([*then, *otherwise], known, foreign)
            case ast.For(ast.Name(), ast.Call(ast.Name("range"), [ast.Name() as count]), body, []):
                yield from _foreign_to(count, known, foreign)
                yield from _unreadable(body, known, foreign)
            case ast.Return(ast.Tuple(elements)) if line is lines[-1]:
                yield from chain.from_iterable(_foreign_to(each, known, foreign) for each in elements)
            case ast.Pass():
                pass
            case _:
                yield line


def _foreign_to(node: ast.expr, known: set[str], foreign: set[str]) -> Iterator[ast.expr]:
    """Yield the parts of an expression that cannot be read."""
    parts: list[ast.expr] | None = None
    match node:
        case ast.Name(name):
            parts = [] if name in known else None
        case ast.Constant(int() | float() | str() | None):
            parts = []
        case ast.BinOp(left, operator, right):
            parts = [left, right] if isinstance(operator, _OPERATORS) else None
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            parts = [operand]
        case ast.BoolOp(_, values):
            parts = values
        case ast.Compare(left, [operator], [right]):
            parts = [left, right] if isinstance(operator, _COMPARISONS) else None
        case ast.IfExp(condition, then, otherwise):
            parts = [condition, then, otherwise]
        case ast.Call(ast.Name(name), arguments, []):
            parts = arguments if name in FUNCTIONS and name not in foreign else None
    if parts is None:
        yield node
        return
    for part in parts:
        yield from _foreign_to(part, known, foreign)
