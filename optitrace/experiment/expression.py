"""Expressions as losses: ``w1**2 + 2*w2**2 + sin(3*w1)``, read by an allow-list and nothing else.

An expression is parsed, every node of it is looked up in what is allowed here, and only then is it
compiled. There are no attributes, no subscripts, no strings, no names but the weights w1, w2, …, the
constants and the functions below, so there is nothing through which it could reach further.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import CodeType
from typing import TYPE_CHECKING, Any

from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.functions import divide, power
from optitrace.rules.reader import UNICODE
from optitrace.rules.reader.notation import write_names

if TYPE_CHECKING:
    from torch import Tensor

LONGEST = 6000
"""Characters of the longest expression."""

DEEPEST = 200
"""Levels of the most nested one; a sum or a product of many terms is one level."""

LARGEST_EXPONENT = 64
"""The largest exponent that is a number."""

MOST_WEIGHTS = 10_000
"""The largest number of a weight."""

CONSTANTS: Mapping[str, float] = {"pi": math.pi, "e": math.e}

FUNCTIONS = ("sin", "cos", "tan", "tanh", "exp", "log", "sqrt", "abs", "sigmoid", "atan", "relu")
"""The functions of one argument, by torch's names."""

OPERATORS: tuple[type[ast.AST], ...] = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)

_WEIGHT = re.compile(r"w([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Expression:
    """A loss as an expression of the weights.

    Attributes:
        text: the expression, as it was given.
        dimension: the largest number of a weight in it.
        formula: the expression in mathematical notation.
        code: the expression, compiled.
    """

    text: str
    dimension: int
    formula: str
    code: CodeType = field(compare=False, repr=False)

    def evaluate(self, weights: Tensor) -> Tensor:
        """Return the loss of weights of shape (n,) or (1, n), a scalar that autograd can follow."""
        names: dict[str, Any] = {f"w{i}": w for i, w in enumerate(weights.reshape(-1).unbind(), start=1)}
        value: Tensor = eval(self.code, {"__builtins__": {}, **_functions()}, names)
        return value


def parse_expression(text: str) -> Expression:
    """Read an expression.

    Raises:
        UsageError: it is invalid, uses something that is not allowed, or is too long, too deep or too large.
    """
    if len(text) > LONGEST:
        raise UsageError(f"the expression has {len(text)} characters; it may have at most {LONGEST}.")
    if not text.isprintable():
        raise UsageError(
            f"cannot read the expression {_named(text)}: "
            "it has a character that cannot be printed; remove it."
        )
    try:
        tree = ast.parse(text.strip(), mode="eval")
        weights = set(_check(tree.body, depth=1))
        if not weights:
            raise UsageError(f"{_named(text)} has no weight in it; they are called w1, w2 and so on.")
        formula = write_names(tree.body, UNICODE, ())
        body = ast.fix_missing_locations(ast.Expression(_Safe().visit(tree.body)))
        return Expression(text.strip(), max(weights), formula, compile(body, "<expression>", "eval"))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", None) or "it is not one"
        raise UsageError(f"cannot read the expression {_named(text)}: {reason}.") from None


def _check(node: ast.AST, depth: int) -> Iterator[int]:
    """Yield the numbers of the weights in an expression, every node of which is allowed."""
    if depth > DEEPEST:
        raise UsageError(f"the expression is nested more than {DEEPEST} levels deep; write it flatter.")
    match node:
        case ast.BinOp(op=op) if isinstance(op, OPERATORS):
            for part in _terms(node):
                yield from _check(part, depth + 1)
        case ast.UnaryOp(op, operand) if isinstance(op, OPERATORS):
            yield from _check(operand, depth + 1)
        case ast.Call(ast.Name(name)) if name not in FUNCTIONS:
            guess = did_you_mean(name, FUNCTIONS) or f"; choose from: {', '.join(FUNCTIONS)}."
            raise UsageError(f"there is no function {_named(name)} in expressions{guess}")
        case ast.Call(ast.Name(name), [argument], []):
            yield from _check(argument, depth + 1)
        case ast.Constant(int() | float() as number) if not isinstance(number, bool):
            if not math.isfinite(_as_float(number)):
                raise UsageError(
                    "the expression has a number that is too large for every dtype; write a smaller one."
                )
        case ast.Name(name) if name in FUNCTIONS:
            raise UsageError(f"the function {name} of an expression has no argument; write {name}(w1), say.")
        case ast.Name(name):
            if name not in CONSTANTS:
                yield _weight(name)
        case _:
            raise UsageError(
                f"{_named(ast.unparse(node))} cannot be used in an expression; it may have "
                f"w1, w2, …, numbers, + - * / **, {', '.join([*CONSTANTS, *FUNCTIONS])}."
            )


def _terms(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the terms of a sum, the factors of a product, or the parts of a power, the last one first."""
    while isinstance(node, ast.BinOp) and isinstance(node.op, OPERATORS):
        if isinstance(node.op, ast.Pow):
            _check_exponent(node.right)
        yield node.right
        node = node.left
    yield node


def _check_exponent(exponent: ast.AST) -> None:
    if isinstance(exponent, ast.UnaryOp):
        exponent = exponent.operand
    if not isinstance(exponent, ast.Constant):
        return
    if isinstance(exponent.value, int | float) and abs(exponent.value) > LARGEST_EXPONENT:
        raise UsageError(
            f"the exponent {_shortened(str(_as_float(exponent.value)))} is too large; "
            f"it may be at most {LARGEST_EXPONENT}."
        )


def _weight(name: str) -> int:
    """Return the number of a weight."""
    match = _WEIGHT.fullmatch(name)
    if match is None:
        known = [*CONSTANTS, *FUNCTIONS, "w1", "w2"]
        guess = did_you_mean(name, known) or "; weights are called w1, w2 and so on."
        raise UsageError(f"{_named(name)} is unknown in an expression{guess}")
    if int(match[1]) > MOST_WEIGHTS:
        raise UsageError(f"there is no weight {name}; they end at w{MOST_WEIGHTS}.")
    return int(match[1])


class _Safe(ast.NodeTransformer):
    """Makes numbers floats, and powers calls of a function that yields no complex or endless number."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        assert isinstance(node.value, int | float)
        return ast.Constant(_as_float(node.value))

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        made: ast.expr = self.visit(chain[-1].left)
        for each in reversed(chain):
            made = self._computed(each, made, self.visit(each.right))
        return made

    def _computed(self, node: ast.BinOp, left: ast.expr, right: ast.expr) -> ast.expr:
        name = {ast.Pow: "_power", ast.Div: "_divide"}.get(type(node.op))
        if name is None:
            return ast.BinOp(left, node.op, right)
        if name == "_power" and isinstance(node.right, ast.Constant) and isinstance(node.right.value, int):
            right = node.right
        return ast.Call(ast.Name(name, ast.Load()), [left, right], [])


@cache
def _functions() -> Mapping[str, Any]:
    """Return what the names in a compiled expression stand for."""
    import torch

    torchs = {name: _on_numbers_too(getattr(torch, name)) for name in FUNCTIONS}
    return {**torchs, **CONSTANTS, "_power": power, "_divide": divide}


def _on_numbers_too(function: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    """Return a function of tensors that takes Python numbers as well."""
    import torch

    def apply(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return function(x)
        return function(torch.tensor(x, dtype=torch.float64)).item()

    return apply


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _named(text: str) -> str:
    """Return a part of an expression as quoted in a message."""
    return quoted(_shortened(text))
