"""The part of Python that rules are written in, and the error for all else."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import chain

from optitrace.errors import UsageError
from optitrace.functions import FUNCTIONS
from optitrace.rules.rule import Rule, RuleFunction
from optitrace.rules.source_patching import definition
from optitrace.text.number_format import listed

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.MatMult)
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot)

FIRST_OF_STATE = 3
"""How many parameters of a rule stand before its state: the weights, the gradient and the step number."""

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
        UsageError: it contains something else, which is named with its line.
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
