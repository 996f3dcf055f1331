"""How an expression of a rule is written as mathematics, with its symbols or with numbers in them.

An expression is written once into a `Template`, whose slots then take the symbols' names (the formula)
or their numbers (the same with numbers put in). A slot knows where it stands, and so whether what fills
it needs parentheses.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from optitrace.rules.hyperparameter import show
from optitrace.rules.reader.notation_style import Spelling


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
                self.add(f" {'is' if isinstance(operator, ast.Is) else self.compare(operator)} ")
                self.write(right, _SUM)
            case ast.IfExp(condition, then, otherwise) | ast.Call(
                ast.Name("where"), [condition, then, otherwise]
            ):
                self.write(then, _CONDITION)
                self.add(" if ")
                self.write(condition, _CONDITION)
                self.add(" else ")
                self.write(otherwise)
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
        if name in ("sqrt", "transpose") and self.spelling.raised:
            self.sign(name, arguments[0])
            return
        before, after = self.spelling.around.get(name, (f"{name}(", ")"))
        named = before[-1] == "("
        self.reductions += name in REDUCTIONS
        self.add(before)
        for position, argument in enumerate(arguments):
            self.add(", " if position else "")
            self.write(argument, place=Place.ARGUMENT if named and len(arguments) == 1 else Place.FREE)
        self.add(after)
        self.reductions -= name in REDUCTIONS

    def sign(self, name: str, argument: ast.expr) -> None:
        if name == "sqrt":
            self.add("√")
            self.write(argument, _ATOM + 1, Place.ROOT)
        else:
            self.write(argument, _ATOM, Place.BASE)
            self.add("ᵀ")


REDUCTIONS = ("rms", "norm")
"""The functions of the rules that make one number of all coordinates."""


def _tightness(node: ast.expr, spelling: Spelling) -> int:
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
        case ast.IfExp() | ast.Call(func=ast.Name("where")):
            return _CONDITIONAL
        case ast.Call(func=ast.Name("sqrt")) if spelling.raised:
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
