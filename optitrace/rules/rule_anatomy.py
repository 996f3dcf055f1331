"""The anatomy of a rule: its lines, names, factors and bias corrections, and what sentences call them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from optitrace.functions import FUNCTIONS, FunctionKind
from optitrace.rules.open_lines import assignments
from optitrace.rules.reader.notation import UNICODE, write_names
from optitrace.rules.reader.parts import DECAY_RATES
from optitrace.rules.rule import Rule

SourceChanges: TypeAlias = Mapping[str, str]
"""Pieces of a rule's source, and what stands instead of each."""

WEIGHT_DECAY = "weight decay"
MAXIMIZE = "maximize"
STEP = "the step"


@dataclass(frozen=True, slots=True)
class AssignedLine:
    """A line that gives a value to one symbol.

    Attributes:
        node: the line.
        statement: the statement of the function that it is, or is in.
        place: the number of that statement.
    """

    node: ast.Assign
    statement: ast.stmt
    place: int

    @property
    def symbol(self) -> str:
        """The symbol."""
        return ast.unparse(self.node.targets[0])

    @property
    def value(self) -> ast.expr:
        """What is assigned."""
        return self.node.value

    @property
    def source(self) -> str:
        """The line as it is written."""
        return ast.unparse(self.node)

    @property
    def names(self) -> frozenset[str]:
        """The names of the numbers that it reads."""
        return names_in(self.value)

    def with_value(self, value: str) -> str:
        """Return the line with another value."""
        return f"{self.symbol} = {value}"

    def with_part(self, part: ast.expr, text: str) -> str:
        """Return the line with another text for a part of its value."""
        number = next(number for number, each in enumerate(ast.walk(self.value)) if each is part)
        copy = deepcopy(self.value)
        place = [*ast.walk(copy)][number]
        return self.with_value(ast.unparse(_Exchange(place, text).visit(copy)))

    def without_factors(self, factors: Collection[str]) -> str:
        """Return the line with some factors and divisors left out of its value."""
        return self.with_value(ast.unparse(_Without(factors).visit(deepcopy(self.value))))

    def with_name(self, name: str, text: str) -> str:
        """Return the line with another text wherever a name stands in its value."""
        return self.with_value(ast.unparse(_Renaming({name: text}).visit(deepcopy(self.value))))


@dataclass(frozen=True)
class Anatomy:
    """What a rule is made of.

    Attributes:
        rule: the rule.
        function: its definition.
    """

    rule: Rule
    function: ast.FunctionDef

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """What it does, without its docstring, what it returns, and what its fixed arguments rule out."""
        return [
            statement
            for statement in self.function.body
            if not isinstance(statement, ast.Expr | ast.Return)
            and not (isinstance(statement, ast.If) and self._is_ruled_out(statement.test))
        ]

    @cached_property
    def lines(self) -> list[AssignedLine]:
        """The lines that give a value to one symbol."""
        return [
            AssignedLine(node, statement, place)
            for place, statement in enumerate(self.statements)
            for node in assignments([statement])
        ]

    @cached_property
    def arguments(self) -> list[str]:
        """The weights, the gradient, the number of the step, and the state."""
        return [argument.arg for argument in self.function.args.args]

    @property
    def weights(self) -> str:
        """The symbol of the weights."""
        return self.arguments[0]

    @property
    def gradient(self) -> str:
        """The symbol of the gradient."""
        return self.arguments[1]

    @property
    def count(self) -> str:
        """The symbol of the number of the step."""
        return self.arguments[2]

    @cached_property
    def keys(self) -> dict[str, str]:
        """The names of the state, by its symbols."""
        return dict(zip(self.arguments[3:], (entry.key for entry in self.rule.state), strict=True))

    @cached_property
    def hyperparameters(self) -> dict[str, Any]:
        """Every hyperparameter with its default, or with the value that the rule fixes."""
        offered = {parameter.name: parameter.default for parameter in self.rule.parameters}
        return {**offered, **self.rule.fixed}

    @cached_property
    def unpacked(self) -> dict[str, tuple[str, ...]]:
        """The names that are given to the numbers of a hyperparameter, by the source of the line."""
        return {
            ast.unparse(statement): tuple(map(ast.unparse, target.elts))
            for statement in self.statements
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Tuple)
        }

    @cached_property
    def settings(self) -> frozenset[str]:
        """The names of numbers that are set, not computed."""
        return frozenset(
            {*self.hyperparameters, *(name for names in self.unpacked.values() for name in names)}
        )

    @cached_property
    def moments(self) -> dict[str, str]:
        """The state entry that decays by a factor, by the name of the factor."""
        found: dict[str, str] = {}
        for line in self.lines:
            for part in ast.walk(line.value) if line.symbol in self.keys else ():
                match part:
                    case ast.BinOp(ast.Name(factor), ast.Mult(), ast.Name(line.symbol)):
                        found.setdefault(factor, line.symbol)
        return {factor: symbol for factor, symbol in found.items() if factor in self.settings}

    @cached_property
    def corrections(self) -> dict[str, str]:
        """The bias corrections, ``1 - beta1 ** t``, by the factor in each."""
        written = {x: ast.unparse(ast.parse(f"1 - {x} ** {self.count}")) for x in sorted(self.settings)}
        return {x: text for x, text in written.items() if any(text in line.source for line in self.lines)}

    @cached_property
    def decay_rate(self) -> str:
        """The hyperparameter that shrinks the weights; empty if there is none."""
        return next((name for name in DECAY_RATES if name in self.hyperparameters), "")

    def known_before(self, line: AssignedLine) -> set[str]:
        """Return the names that have a value before a line."""
        above = (each.symbol for each in self.lines if each.place < line.place)
        return {*self.arguments, *self.settings, *above}

    def inserted(self, text: str) -> SourceChanges:
        """Return the changes that put statements first."""
        first = ast.unparse(self.statements[0])
        return {first: f"{text}\n{first}"}

    def said(self, node: ast.expr | str) -> str:
        """Return an expression as mathematics, with the names of torch.

        >>> from optitrace.rules.families.adam_family import adam
        >>> from optitrace.rules.source_patching import definition
        >>> Anatomy(adam, definition(adam.function)).said("maximum(v_max, v) + beta1")
        'max(max_exp_avg_sq, exp_avg_sq) + β₁'
        """
        copy = ast.parse(node, mode="eval").body if isinstance(node, str) else deepcopy(node)
        names = {**self.keys, self.weights: "weights", self.gradient: "gradient"}
        renamed = _Renaming({symbol: name for symbol, name in names.items() if name.isidentifier()}).visit(
            copy
        )
        return write_names(renamed, UNICODE, {*self.hyperparameters, *names.values()})

    def name(self, symbol: str) -> str:
        """Return what a symbol is called in a sentence."""
        given = {self.weights: "the weights", self.gradient: "the gradient", self.count: "the step number"}
        return given.get(symbol) or self.keys.get(symbol) or self.said(symbol)

    def moment(self, factor: str) -> str:
        """Return the name of the state entry that decays by a factor."""
        return self.name(self.moments.get(factor, factor))

    def is_decay(self, line: AssignedLine) -> bool:
        """Return whether a line does nothing but decay the weights, or add the decay to the gradient."""
        moved = {self.weights, line.symbol}
        return (
            line.symbol in (self.weights, self.gradient)
            and {self.weights, self.decay_rate} <= line.names
            and line.names <= {*moved, *self.settings}
        )

    def is_maximize(self, line: AssignedLine) -> bool:
        """Return whether a line turns the sign of the gradient."""
        return line.symbol == self.gradient and line.source == f"{line.symbol} = -{line.symbol}"

    def role(self, line: AssignedLine) -> str:
        """Return what a line does, as it is called in a sentence."""
        if self.is_decay(line):
            return WEIGHT_DECAY
        if self.is_maximize(line):
            return MAXIMIZE
        return STEP if line.symbol == self.weights else self.name(line.symbol)

    def role_of(self, statement: ast.stmt) -> str:
        """Return what a statement does; its last line tells."""
        roles = [self.role(line) for line in self.lines if line.statement is statement]
        return roles[-1] if roles else ast.unparse(statement)

    def _is_ruled_out(self, test: ast.expr) -> bool:
        """Return whether fixed arguments never let a condition hold."""
        match test:
            case ast.Name(name):
                return self.rule.fixed.get(name) is False
            case ast.UnaryOp(ast.Not(), ast.Name(name)):
                return self.rule.fixed.get(name) is True
        return any(self._is_ruled_out(each) for each in conjuncts(test) if each is not test)


def names_in(node: ast.AST) -> frozenset[str]:
    """Return the names in an expression whose numbers count, not those of functions or of a shape."""
    uncounted: set[int] = set()
    for part in ast.walk(node):
        match part:
            case ast.Call(ast.Name(function), arguments):
                uncounted.add(id(part.func))
                if function in FUNCTIONS and FUNCTIONS[function].kind is FunctionKind.FACT:
                    uncounted |= set(map(id, arguments))
    return frozenset(p.id for p in ast.walk(node) if isinstance(p, ast.Name) and id(p) not in uncounted)


def written_in(statement: ast.stmt) -> frozenset[str]:
    """Return the names that a statement gives a value to."""
    return frozenset(
        part.id
        for part in ast.walk(statement)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    )


def read_in(statement: ast.stmt) -> frozenset[str]:
    """Return the names whose values a statement reads."""
    expressions = (part for part in ast.walk(statement) if isinstance(part, ast.Assign | ast.If))
    return frozenset().union(
        *(names_in(part.test if isinstance(part, ast.If) else part.value) for part in expressions)
    )


def conjuncts(test: ast.expr) -> list[ast.expr]:
    """Return the conditions that a condition joins by ``and``."""
    return test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]


def exclude_each_other(one: ast.stmt, other: ast.stmt) -> bool:
    """Return whether of two statements one alone can act, as their conditions are opposite."""
    if not (isinstance(one, ast.If) and isinstance(other, ast.If)):
        return False
    ours, theirs = (set(map(ast.unparse, conjuncts(each.test))) for each in (one, other))
    return any(f"not {each}" in theirs for each in ours) or any(f"not {each}" in ours for each in theirs)


def is_even_in(node: ast.expr, name: str) -> bool:
    """Return whether an expression has the same value for a number and its opposite.

    >>> is_even_in(ast.parse("a * x**2 + (x != 0)", mode="eval").body, "x")
    True
    """
    match node:
        case ast.BinOp(ast.Name(), ast.Pow(), ast.Constant(2)) | ast.Call(ast.Name("absolute"), [ast.Name()]):
            return True
        case ast.Compare(ast.Name(), [ast.Eq() | ast.NotEq()], [ast.Constant(0)]):
            return True
        case ast.Name(found):
            return found != name
    return all(is_even_in(part, name) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr))


class _Renaming(ast.NodeTransformer):
    """Puts expressions in the place of names, but not of those of functions."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.args = [self.visit(argument) for argument in node.args]
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.parse(self.texts[node.id], mode="eval").body if node.id in self.texts else node


class _Exchange(ast.NodeTransformer):
    """Puts an expression in the place of one node."""

    def __init__(self, node: ast.AST, text: str) -> None:
        self.node = node
        self.text = text

    def visit(self, node: ast.AST) -> Any:
        return ast.parse(self.text, mode="eval").body if node is self.node else self.generic_visit(node)


class _Without(ast.NodeTransformer):
    """Leaves out factors and divisors."""

    def __init__(self, factors: Collection[str]) -> None:
        self.factors = factors

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        node = ast.BinOp(self.visit(node.left), node.op, self.visit(node.right))
        if isinstance(node.op, ast.Mult | ast.Div) and ast.unparse(node.right) in self.factors:
            return node.left
        if isinstance(node.op, ast.Mult) and ast.unparse(node.left) in self.factors:
            return node.right
        return node
