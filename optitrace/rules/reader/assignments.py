"""The lines of a rule that assign, and the branches that their conditional expressions can take."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from optitrace.functions import FUNCTIONS, FunctionKind
from optitrace.rules.reader.calculation import Calculation, compile_expression, leaf_of
from optitrace.rules.reader.notation import Spelling, Template, conditional, write, write_names

_OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
}

Decision: TypeAlias = "bool | None"
"""The value of a condition; None if not evaluated."""


@dataclass(frozen=True)
class Branch:
    """An assignment whose conditions are decided.

    Attributes:
        node: what is assigned, without conditional parts.
        calculation: the same, compiled.
        conditions: the conditions that hold, so that this branch is taken.
        hyperparameters: the symbols that are hyperparameters, and so are written as torch names them.
    """

    node: ast.expr
    calculation: Calculation
    conditions: tuple[ast.expr, ...]
    hyperparameters: frozenset[str]
    _templates: dict[Spelling, Template] = field(default_factory=dict)
    _texts: dict[Spelling, tuple[str, str]] = field(default_factory=dict)

    @cached_property
    def names(self) -> frozenset[str]:
        """The symbols in what is assigned and in the conditions."""
        return names_in(self.node).union(*map(names_in, self.conditions))

    def is_symbol(self, symbol: str) -> bool:
        """Return whether what is assigned is this symbol itself."""
        return isinstance(self.node, ast.Name) and self.node.id == symbol

    def template(self, spelling: Spelling) -> Template:
        """Return what is assigned as text with a slot for each leaf."""
        if spelling not in self._templates:
            self._templates[spelling] = write(self.node, spelling, self._number)
        return self._templates[spelling]

    def formula(self, spelling: Spelling) -> str:
        """Return what is assigned, in symbols."""
        return self._text(spelling)[0]

    def when(self, spelling: Spelling) -> str:
        """Return the conditions on the step that hold, without those of the general case."""
        return self._text(spelling)[1]

    def _text(self, spelling: Spelling) -> tuple[str, str]:
        if spelling not in self._texts:
            on_the_step = [node for node in self.conditions if not names_in(node) <= self.hyperparameters]
            when = " and ".join(
                write_names(node, spelling, self.hyperparameters) for node in telling(on_the_step)
            )
            self._texts[spelling] = write_names(self.node, spelling, self.hyperparameters), when
        return self._texts[spelling]

    def _number(self, node: ast.expr, whole: bool) -> int | None:
        leaf = leaf_of(node, whole or self.calculation.is_of_matrices)
        return None if leaf is None else self.calculation.leaves.index(leaf)


@dataclass(frozen=True)
class Condition:
    """A condition inside an assignment: ``t == 1`` in ``g if t == 1 else b``.

    Attributes:
        node: the condition.
        calculation: the same, compiled.
        parent: the number of the condition that this one stands under; None if under none.
        under: what the parent must be for this one to be asked.
    """

    node: ast.expr
    calculation: Calculation
    parent: int | None
    under: bool


@dataclass(frozen=True)
class Assignment:
    """A line ``symbol = expression``."""

    symbol: str
    node: ast.expr
    hyperparameters: frozenset[str]
    _branches: dict[tuple[Decision, ...], Branch] = field(default_factory=dict)

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions in the expression, a parent before those under it."""
        found: list[Condition] = []

        def collect(node: ast.AST, parent: int | None, under: bool) -> None:
            parts = conditional(node)
            if parts is None:
                for child in ast.iter_child_nodes(node):
                    collect(child, parent, under)
                return
            condition, then, otherwise = parts
            found.append(Condition(condition, compile_expression(condition), parent, under))
            number = len(found) - 1
            collect(then, number, True)
            collect(otherwise, number, False)

        collect(self.node, None, True)
        return tuple(found)

    @cached_property
    def spreading(self) -> frozenset[str]:
        """The symbols whose coordinates the result has: not those inside a function of all of them."""
        return frozenset(_spreading(self.node))

    def branch(self, decisions: tuple[Decision, ...]) -> Branch:
        """Return the branch that is taken where the conditions are decided so."""
        if decisions not in self._branches:
            resolution = _Resolution(decisions)
            node = resolution.visit(ast.parse(ast.unparse(self.node), mode="eval").body)
            holding = tuple(
                condition.node if decision else negated(condition.node)
                for condition, decision in zip(self.conditions, decisions, strict=True)
                if decision is not None
            )
            calculation = compile_expression(node)
            self._branches[decisions] = Branch(node, calculation, holding, self.hyperparameters)
        return self._branches[decisions]


def _spreading(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(name):
            yield name
        case ast.Call(ast.Name(function), arguments):
            if FUNCTIONS[function].kind not in (FunctionKind.FACT, FunctionKind.REDUCTION):
                for argument in arguments:
                    yield from _spreading(argument)
        case _:
            for part in ast.iter_child_nodes(node):
                yield from _spreading(part)


class _Resolution(ast.NodeTransformer):
    """Puts, in place of each conditional expression, the branch that is taken."""

    def __init__(self, decisions: tuple[Decision, ...]) -> None:
        self.decisions = iter(decisions)

    def visit(self, node: ast.AST) -> Any:
        parts = conditional(node)
        if parts is None:
            return self.generic_visit(node)
        _, then, otherwise = parts
        decision = next(self.decisions)
        # both are visited, since each takes the decisions of the conditions in it
        branches = self.visit(then), self.visit(otherwise)
        return branches[0 if decision else 1]


def names_in(node: ast.AST) -> frozenset[str]:
    """Return the symbols in an expression."""
    called = {part.func for part in ast.walk(node) if isinstance(part, ast.Call)}
    return frozenset(p.id for p in ast.walk(node) if isinstance(p, ast.Name) and p not in called)


def negated(node: ast.expr) -> ast.expr:
    """Return the opposite of a condition.

    >>> ast.unparse(negated(ast.parse("a > b", mode="eval").body))
    'a <= b'
    """
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _OPPOSITES:
        return ast.Compare(node.left, [_OPPOSITES[type(node.ops[0])]()], node.comparators)
    return ast.UnaryOp(ast.Not(), node)


def telling(conditions: Sequence[ast.expr]) -> list[ast.expr]:
    """Return, of the conditions that hold, those that tell why a branch was taken.

    That two numbers differ is the general case and tells nothing. Of several conditions on the same two
    numbers, the last says what those before it say, but that neither is the greater says that they are
    equal.
    """
    told: list[ast.expr] = []
    for node in conditions:
        earlier = next((other for other in told if _sides(other) == _sides(node)), None)
        if earlier is not None:
            told.remove(earlier)
        if {_operator(earlier), _operator(node)} == {ast.LtE, ast.GtE} and isinstance(node, ast.Compare):
            told.append(ast.Compare(node.left, [ast.Eq()], node.comparators))
        elif _operator(node) is not ast.NotEq:
            told.append(node)
    return told


def _operator(node: ast.expr | None) -> type[ast.cmpop] | None:
    return type(node.ops[0]) if isinstance(node, ast.Compare) else None


def _sides(node: ast.expr) -> str:
    return ast.dump(ast.Tuple([node.left, *node.comparators])) if isinstance(node, ast.Compare) else ""
