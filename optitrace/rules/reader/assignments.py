"""A line of a rule that assigns, and the branches that its conditional expressions can take."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from optitrace.rules.reader.calculation import FACTS, Calculation, compile_expression, leaf_of
from optitrace.rules.reader.conditions import conditional, names_in, negated, telling
from optitrace.rules.reader.notation import REDUCTIONS, Template, write, write_names
from optitrace.rules.reader.notation_style import Spelling

Decision: TypeAlias = "bool | None"
"""Whether a condition holds; None where it was not asked."""


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
    functions: Mapping[str, Any]
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
            found.append(Condition(condition, compile_expression(condition, self.functions), parent, under))
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
            calculation = compile_expression(node, self.functions)
            self._branches[decisions] = Branch(node, calculation, holding, self.hyperparameters)
        return self._branches[decisions]


def _spreading(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(name):
            yield name
        case ast.Call(ast.Name(function), arguments):
            if function not in (*FACTS, *REDUCTIONS):
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
