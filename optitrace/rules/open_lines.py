"""The lines of a rule, each of which can be opened, so that its result can be replaced."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from optitrace.functions import Number
from optitrace.rules.reader.notation import UNICODE, write_names
from optitrace.rules.rule import Rule
from optitrace.rules.source_patching import compiled, definition

_PUT = "put"


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


def assignments(statements: Sequence[ast.stmt]) -> Iterator[ast.Assign]:
    """Yield the lines that give a value to one symbol, in their order."""
    for statement in statements:
        match statement:
            case ast.Assign([ast.Name()]):
                yield statement
            case ast.If() | ast.For():
                yield from assignments([*statement.body, *statement.orelse])


def _opened(rule: Rule, number: int) -> OpenLine:
    function = definition(rule.function)
    line = list(assignments(function.body))[number]
    text = _line_of(function, line)
    line.value = ast.Call(ast.Name(_PUT, ast.Load()), [line.value], [])
    function.args.kwonlyargs.append(ast.arg(_PUT))
    function.args.kw_defaults.append(None)
    opened = compiled(function, rule.function, f"{rule.name} with line {number + 1} open")
    return OpenLine(text, replace(rule, function=opened))


def _line_of(function: ast.FunctionDef, assignment: ast.Assign) -> str:
    """Return a line of a rule as mathematics."""
    kept = {argument.arg for argument in function.args.kwonlyargs}
    [target] = assignment.targets
    assert isinstance(target, ast.Name)
    return f"{write_names(target, UNICODE, kept)} = {write_names(assignment.value, UNICODE, kept)}"
