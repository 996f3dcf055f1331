"""A rule's function, taken apart into its lines: assignments, guards and loops."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from optitrace.rules.reader.assignments import Assignment
from optitrace.rules.reader.calculation import Calculation, compile_expression
from optitrace.rules.reader.partial_evaluation import Folding
from optitrace.rules.rule import RuleFunction
from optitrace.rules.source_patching import definition


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


Statement: TypeAlias = "Assignment | Unpacking | Guard | Loop"


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
    """Take a rule's function apart, leaving out what its fixed arguments rule out."""
    function = definition(rule_function)
    *nodes, returned = Folding(dict(fixed)).block(function.body)
    if not (isinstance(returned, ast.Return) and isinstance(returned.value, ast.Tuple)):
        raise TypeError(f"the rule {function.name} does not end by returning a tuple")
    annotation = function.args.args[0].annotation
    hyperparameters = frozenset(argument.arg for argument in function.args.kwonlyargs)
    reader = _StatementReader(rule_function.__globals__, hyperparameters)
    return Body(
        arguments=tuple(argument.arg for argument in function.args.args),
        hyperparameters=hyperparameters,
        statements=reader.read_all(nodes),
        returned=tuple(ast.unparse(element) for element in returned.value.elts),
        is_of_matrices=annotation is not None and ast.unparse(annotation) == "Matrix",
    )


@dataclass(frozen=True, slots=True)
class _StatementReader:
    """Reads the statements of one function."""

    functions: Mapping[str, Any]
    hyperparameters: frozenset[str]

    def read_all(self, nodes: Iterable[ast.stmt]) -> tuple[Statement, ...]:
        return tuple(map(self.read, nodes))

    def read(self, node: ast.stmt) -> Statement:
        match node:
            case ast.Assign([ast.Name(symbol)], value):
                return Assignment(symbol, value, self.functions, self.hyperparameters)
            case ast.Assign([ast.Tuple(elements)], ast.Name(source)):
                return Unpacking(tuple(map(ast.unparse, elements)), source)
            case ast.Assign([ast.Tuple(elements)], ast.Call(ast.Name(function), [ast.Name(source)])):
                return Unpacking(
                    tuple(map(ast.unparse, elements)), source, function, self.functions[function]
                )
            case ast.If(test, then, otherwise):
                condition = compile_expression(test, self.functions)
                return Guard(test, condition, self.read_all(then), self.read_all(otherwise))
            case ast.For(_, ast.Call(ast.Name("range"), [ast.Name(count)]), body):
                return Loop(count, self.read_all(body))
        raise TypeError(f"a rule cannot contain '{ast.unparse(node)}'")
