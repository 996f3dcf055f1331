"""Formulas: how an expression of a rule is written as mathematics, with its symbols or with numbers in them.

An expression is written once into a `Template`, whose slots then take the symbols' names (the formula)
or their numbers (the same with numbers put in). A slot knows where it stands, and so whether what fills
it needs parentheses. The signs are those of mathematics, or plain ASCII, which is Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from optitrace.functions import FUNCTIONS, FunctionKind
from optitrace.rules.hyperparameter import show

GREEK = {"alpha": "α", "beta": "β", "eps": "ε", "eta": "η", "mu": "μ", "rho": "ρ"}
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPTS = str.maketrans("-0123456789t", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹ᵗ")


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """A set of signs.

    Attributes:
        times: between two factors.
        minus: the sign of a negative number, and between two terms.
        power: before an exponent that is not raised.
        in_unicode: whether symbols are written with their Greek letters, whole exponents raised, and
            functions with their signs.
        comparisons: how two values are compared.
        ellipsis: what stands for coordinates that are left out.
    """

    times: str
    minus: str
    power: str
    in_unicode: bool
    comparisons: dict[type[ast.cmpop], str]
    ellipsis: str

    def symbol(self, name: str) -> str:
        """Return a symbol of a rule as it is written.

        >>> UNICODE.symbol("beta1"), UNICODE.symbol("rho_inf"), ASCII.symbol("beta1")
        ('β₁', 'ρ_inf', 'beta1')
        """
        if not self.in_unicode:
            return name
        head, mark, tail = name.partition("_")
        letters = head.rstrip("0123456789")
        if letters not in GREEK:
            return name
        return GREEK[letters] + head[len(letters) :].translate(SUBSCRIPTS) + mark + tail

    def number(self, text: str) -> str:
        """Return the text of a number with this spelling's minus sign."""
        return self.minus + text[1:] if text.startswith("-") else text

    def raise_to(self, exponent: str) -> str:
        """Return what is appended to a base to raise it to an exponent.

        >>> UNICODE.raise_to("12"), UNICODE.raise_to("−0.8"), ASCII.raise_to("12")
        ('¹²', '^(−0.8)', '**12')
        """
        if self.in_unicode and (exponent.isdecimal() or exponent == "t"):
            return exponent.translate(SUPERSCRIPTS)
        simple = exponent.isidentifier() or exponent.replace(".", "").isdecimal()
        return self.power + (exponent if simple else f"({exponent})")


UNICODE = Spelling(
    times="·",
    minus="−",
    power="^",
    in_unicode=True,
    comparisons={ast.Eq: "=", ast.NotEq: "≠", ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥"},
    ellipsis="…",
)
"""The signs of mathematics."""

ASCII = Spelling(
    times="*",
    minus="-",
    power="**",
    in_unicode=False,
    comparisons={ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="},
    ellipsis="...",
)
"""The signs of a terminal that knows no others, which are also Python's."""


class Place(Enum):
    """Where in an expression something stands."""

    FREE = auto()
    AFTER_A_SIGN = auto()
    ARGUMENT = auto()
    ROOT = auto()
    BASE = auto()
    EXPONENT = auto()


@dataclass(frozen=True, slots=True)
class Template:
    """An expression as text with slots.

    Attributes:
        pieces: texts, and the slots as (number of the leaf, place).
        spelling: the signs it is written in.
    """

    pieces: tuple[str | tuple[int, Place], ...]
    spelling: Spelling

    def fill(self, texts: Sequence[str]) -> str:
        """Return the expression with a text in place of each leaf."""
        return "".join(
            piece if isinstance(piece, str) else _fit(texts[piece[0]], piece[1], self.spelling)
            for piece in self.pieces
        )


def write(node: ast.expr, spelling: Spelling, leaf: Callable[[ast.expr, bool], int | None]) -> Template:
    """Write an expression as a template.

    Args:
        node: the expression.
        spelling: the signs to write it in.
        leaf: returns the number of the leaf that a node is, or None where it is none. Its second
            argument tells whether the node stands inside a function of all coordinates.
    """
    writer = _Writer(spelling, leaf)
    writer.write(node)
    return Template(tuple(writer.pieces), spelling)


def write_names(node: ast.expr, spelling: Spelling, kept: Iterable[str]) -> str:
    """Return an expression with the names of its symbols, those that are `kept` as they stand."""
    names: list[str] = []

    def leaf(part: ast.expr, whole: bool) -> int | None:
        if not isinstance(part, ast.Name):
            return None
        names.append(part.id if part.id in kept else spelling.symbol(part.id))
        return len(names) - 1

    return write(node, spelling, leaf).fill(names)


_IDENTITY: Mapping[type[ast.cmpop], str] = {ast.Is: "is", ast.IsNot: "is not"}

# How tightly an expression binds. A part that binds less tightly than its place asks for is put in
# parentheses.
_CONDITIONAL, _CONDITION, _SUM, _PRODUCT, _SIGNED, _POWER, _ATOM = range(7)


class _Writer:
    """Writes one expression, from left to right, into `pieces`."""

    def __init__(self, spelling: Spelling, leaf: Callable[[ast.expr, bool], int | None]) -> None:
        self.spelling = spelling
        self.leaf = leaf
        self.pieces: list[str | tuple[int, Place]] = []
        self.reductions = 0

    def write(self, node: ast.expr, floor: int = _CONDITIONAL, place: Place = Place.FREE) -> None:
        number = self.leaf(node, self.reductions > 0)
        if number is not None:
            self.pieces.append((number, place))
        elif isinstance(node, ast.Constant):
            self.add(_fit(_constant(node.value, self.spelling), place, self.spelling))
        elif _tightness(node, self.spelling) < floor or (
            isinstance(node, ast.UnaryOp) and place is Place.AFTER_A_SIGN
        ):
            self.add("(")
            self.compound(node, Place.FREE)
            self.add(")")
        else:
            self.compound(node, Place.FREE if place is Place.ARGUMENT else place)

    def add(self, text: str) -> None:
        self.pieces.append(text)

    def compound(self, node: ast.expr, place: Place) -> None:
        """Write an expression of parts; its first part stands where it stands itself."""
        if parts := conditional(node):
            condition, then, otherwise = parts
            self.write(then, _CONDITION)
            self.add(" if ")
            self.write(condition, _CONDITION)
            self.add(" else ")
            self.write(otherwise)
            return
        match node:
            case ast.BinOp(left, ast.Pow(), right):
                self.write(left, _ATOM, Place.BASE)
                self.exponent(right)
            case ast.BinOp():
                self.binary(node, place)
            case ast.UnaryOp(ast.USub(), operand):
                self.add(self.spelling.minus)
                self.write(operand, _POWER, Place.AFTER_A_SIGN)
            case ast.UnaryOp(ast.Not(), operand):
                self.add("not ")
                self.write(operand, _CONDITION)
            case ast.BoolOp(operator, values):
                for position, value in enumerate(values):
                    self.add((" and " if isinstance(operator, ast.And) else " or ") if position else "")
                    self.write(value, _CONDITION)
            case ast.Compare(left, [operator], [right]):
                self.write(left, _SUM)
                self.add(f" {_IDENTITY.get(type(operator)) or self.compare(operator)} ")
                self.write(right, _SUM)
            case ast.Call(ast.Name(name), arguments):
                self.call(name, arguments)
            case _:
                raise TypeError(f"a rule cannot contain '{ast.unparse(node)}'")

    def compare(self, operator: ast.cmpop) -> str:
        return self.spelling.comparisons[type(operator)]

    def binary(self, node: ast.BinOp, place: Place) -> None:
        spelling = self.spelling
        sign, own, right = {
            ast.Add: (" + ", _SUM, _PRODUCT),
            ast.Sub: (f" {spelling.minus} ", _SUM, _PRODUCT),
            ast.Mult: (spelling.times, _PRODUCT, _SIGNED),
            ast.MatMult: (" @ ", _PRODUCT, _SIGNED),
            ast.Div: (" / ", _PRODUCT, _SIGNED),
        }[type(node.op)]
        # a / b·c would be read as a / (b·c)
        fraction = isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Div)
        closed = fraction and isinstance(node.op, ast.Mult | ast.MatMult)
        self.write(node.left, _ATOM if closed else own, place)
        self.add(sign)
        self.write(node.right, right, Place.AFTER_A_SIGN)

    def exponent(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant) or self.leaf(node, self.reductions > 0) is not None:
            self.write(node, place=Place.EXPONENT)
            return
        self.add(f"{self.spelling.power}(")
        self.write(node)
        self.add(")")

    def call(self, name: str, arguments: list[ast.expr]) -> None:
        before, after = _around(name, self.spelling)
        if not after:
            self.add(before)
            self.write(arguments[0], _ATOM + 1, Place.ROOT)
            return
        if not before:
            self.write(arguments[0], _ATOM, Place.BASE)
            self.add(after)
            return
        is_reduction = name in FUNCTIONS and FUNCTIONS[name].kind is FunctionKind.REDUCTION
        named = before[-1] == "("
        self.reductions += is_reduction
        self.add(before)
        for position, argument in enumerate(arguments):
            self.add(", " if position else "")
            self.write(argument, place=Place.ARGUMENT if named and len(arguments) == 1 else Place.FREE)
        self.add(after)
        self.reductions -= is_reduction


def conditional(node: ast.AST) -> tuple[ast.expr, ast.expr, ast.expr] | None:
    """Return the condition and the two branches of a conditional expression; None for any other."""
    match node:
        case ast.IfExp(condition, then, otherwise):
            return condition, then, otherwise
        case ast.Call(ast.Name(name), [condition, then, otherwise]):
            if name in FUNCTIONS and FUNCTIONS[name].kind is FunctionKind.CHOICE:
                return condition, then, otherwise
    return None


def _around(name: str, spelling: Spelling) -> tuple[str, str]:
    """Return what is written before and after the arguments of a function."""
    if name in FUNCTIONS:
        return FUNCTIONS[name].written(in_unicode=spelling.in_unicode)
    return f"{name}(", ")"


def _tightness(node: ast.expr, spelling: Spelling) -> int:
    if conditional(node):
        return _CONDITIONAL
    match node:
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            return _SUM
        case ast.BinOp(op=ast.Pow()):
            return _POWER
        case ast.BinOp():
            return _PRODUCT
        case ast.UnaryOp(op=ast.USub()):
            return _SIGNED
        case ast.UnaryOp() | ast.BoolOp() | ast.Compare():
            return _CONDITION
        case ast.Call(ast.Name(name)) if not _around(name, spelling)[1]:
            return _SIGNED
        case _:
            return _ATOM


def _constant(value: Any, spelling: Spelling) -> str:
    return spelling.number(show(value))


def _fit(text: str, place: Place, spelling: Spelling) -> str:
    """Return a name or a number as it stands in a place."""
    if place is Place.EXPONENT:
        return spelling.raise_to(text)
    if text.startswith("("):
        return text[1:-1] if place is Place.ARGUMENT else text
    guarded = place in (Place.AFTER_A_SIGN, Place.ROOT, Place.BASE)
    # in 1e-08², the square would be taken for a part of the exponent
    scientific = place is Place.BASE and text[0].isdecimal() and "e" in text
    return f"({text})" if scientific or (guarded and text.startswith(spelling.minus)) else text
