"""The part of Python that rules are written in, and the error for all else."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import chain

from optitrace.errors import UsageError
from optitrace.functions import FUNCTIONS
from optitrace.rules.rule import RuleFunction, takes_matrices

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.MatMult)
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot)

MAY_CONTAIN = (
    "assignments to symbols, if, for _ in range(hyperparameter), + - * / ** @, comparisons, A if B else C, "
    "and of optitrace.functions"
)
"""What a rule may contain, before the list of functions."""


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
