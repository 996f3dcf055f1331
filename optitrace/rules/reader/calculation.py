"""An expression of a rule as a function of its leaves, compiled once and evaluated many times."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import wraps
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

from optitrace.functions import FUNCTIONS, FunctionKind, divide, power
from optitrace.rules.reader.parts import plain

Value: TypeAlias = Any
"""A Python number; a tuple of them, one for each coordinate; or a torch tensor, which is a matrix."""


class Leaf(NamedTuple):
    """A leaf of an expression, for which a number is substituted.

    Attributes:
        name: a symbol of the rule.
        whole: whether it is inside a function of all coordinates, and so shown with all of them.
        fact: the function applied to it (`FunctionKind.FACT`); empty for the symbol itself.
    """

    name: str
    whole: bool
    fact: str = ""


@dataclass(frozen=True, slots=True)
class Calculation:
    """An expression without branches.

    Attributes:
        leaves: the distinct leaves.
        function: the expression for one coordinate, or for a matrix: a function of the values of its own
            leaves and then of its reductions.
        of_mixtures: the same for mixtures, which keep their parts.
        operands: the numbers of the leaves that `function` takes.
        reductions: the functions of all coordinates in it, with what they are applied to.
        is_of_matrices: whether it multiplies or transposes matrices, so that no coordinate of its result
            comes from that coordinate alone.
    """

    leaves: tuple[Leaf, ...]
    function: Callable[..., Value]
    of_mixtures: Callable[..., Value]
    operands: tuple[int, ...]
    reductions: tuple[tuple[Callable[[Value], Value], Calculation], ...]
    is_of_matrices: bool

    def evaluate(self, values: Sequence[Value]) -> Value:
        """Return the result for the values of the leaves."""
        return _spread(self.function, self._arguments(values, values))

    def evaluate_mixtures(self, values: Sequence[Value]) -> Value:
        """Return the result for mixtures, whose parts a product of matrices discards."""
        plain_values = [tuple(map(plain, v)) if isinstance(v, tuple) else plain(v) for v in values]
        if self.is_of_matrices:
            return self.evaluate(plain_values)
        return _spread(self.of_mixtures, self._arguments(values, plain_values))

    def _arguments(self, values: Sequence[Value], reduced: Sequence[Value]) -> list[Value]:
        arguments = [values[number] for number in self.operands]
        arguments += [function(inner.evaluate(reduced)) for function, inner in self.reductions]
        return arguments


def compile_expression(node: ast.expr) -> Calculation:
    """Return an expression, without conditional parts, as a calculation."""
    is_of_matrices = any(
        isinstance(part, ast.MatMult) or _kind(part) is FunctionKind.MATRIX for part in ast.walk(node)
    )
    return _compile(node, [], is_of_matrices, is_of_matrices)


def leaf_of(node: ast.expr, whole: bool) -> Leaf | None:
    """Return the leaf that a node is; None where it is none."""
    match node:
        case ast.Name(name):
            return Leaf(name, whole)
        case ast.Call(ast.Name(fact), [ast.Name(name)]) if _kind(node) is FunctionKind.FACT:
            return Leaf(name, whole, fact)
    return None


def _kind(node: ast.AST) -> FunctionKind | None:
    """Return the kind of the function that a node calls; None if it calls none."""
    match node:
        case ast.Call(ast.Name(name)) if name in FUNCTIONS:
            return FUNCTIONS[name].kind
    return None


def _compile(node: ast.expr, leaves: list[Leaf], whole: bool, is_of_matrices: bool) -> Calculation:
    """Compile an expression, adding to `leaves`, which it shares with the expressions inside it."""
    operands: dict[int, str] = {}
    reductions: list[tuple[Callable[[Value], Value], Calculation]] = []

    def argument(part: ast.expr) -> ast.expr | None:
        leaf = leaf_of(part, whole)
        if leaf is not None:
            if leaf not in leaves:
                leaves.append(leaf)
            return ast.Name(operands.setdefault(leaves.index(leaf), f"_{len(operands)}"), ast.Load())
        if isinstance(part, ast.Call) and _kind(part) is FunctionKind.REDUCTION:
            inner = _compile(part.args[0], leaves, True, is_of_matrices)
            reductions.append((_COMPUTED[ast.unparse(part.func)], inner))
            return ast.Name(f"_r{len(reductions) - 1}", ast.Load())
        return None

    body = _Translation(argument).visit(deepcopy(node))
    names = [*operands.values(), *(f"_r{position}" for position in range(len(reductions)))]
    source = f"lambda {', '.join(names)}: {ast.unparse(body)}"
    return Calculation(
        leaves=tuple(leaves),
        function=eval(source, dict(_COMPUTED)),
        of_mixtures=eval(source, dict(_FORGETFUL)),
        operands=tuple(operands),
        reductions=tuple(reductions),
        is_of_matrices=is_of_matrices,
    )


class _Translation(ast.NodeTransformer):
    """Puts arguments for leaves, and IEEE's division and power for Python's."""

    def __init__(self, argument: Callable[[ast.expr], ast.expr | None]) -> None:
        self.argument = argument

    def visit(self, node: ast.AST) -> Any:
        replaced = self.argument(node) if isinstance(node, ast.expr) else None
        if replaced is not None:
            return replaced
        if isinstance(node, ast.Call):
            return ast.Call(node.func, [self.visit(part) for part in node.args], [])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Pow):
            name = "_divide" if isinstance(node.op, ast.Div) else "_power"
            return ast.Call(ast.Name(name, ast.Load()), [self.visit(node.left), self.visit(node.right)], [])
        if isinstance(node, ast.BinOp):
            return ast.BinOp(self.visit(node.left), node.op, self.visit(node.right))
        return self.generic_visit(node)


def _forgetting(function: Callable[..., Value]) -> Callable[..., Value]:
    """Return a function of mixtures for a function that discards their parts."""

    @wraps(function)
    def of_mixtures(*arguments: Value) -> Value:
        return function(*map(plain, arguments))

    return of_mixtures


def _spread(function: Callable[..., Value], arguments: Sequence[Value]) -> Value:
    """Return a function's value for each coordinate, or the only one if nothing has coordinates."""
    if tuple in map(type, arguments):
        return tuple(map(function, *(a if type(a) is tuple else repeat(a) for a in arguments)))
    return function(*arguments)


_COMPUTED: Mapping[str, Callable[..., Value]] = {
    **{name: function.compute for name, function in FUNCTIONS.items()},
    "_power": power,
    "_divide": divide,
}
"""The functions that expressions call, by name."""

_FORGETFUL = {**{name: _forgetting(f) for name, f in _COMPUTED.items()}, "_divide": divide}
"""The same for mixtures, whose parts only a division keeps."""
