"""The evaluation of one step of a rule, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from optitrace.errors import UsageError
from optitrace.functions import FUNCTIONS
from optitrace.rules.reader.assignments import Assignment, Branch, Decision
from optitrace.rules.reader.calculation import Leaf, Value
from optitrace.rules.reader.parts import Mixture
from optitrace.rules.reader.statements import Guard, Loop, Statement, Unpacking


@dataclass(frozen=True, slots=True)
class Case:
    """The result of an assignment for coordinates that took the same branch.

    Attributes:
        branch: the branch taken.
        coordinates: the coordinates that took it, from 0; None for all.
        operands: the values of the branch's leaves, of these coordinates where they have coordinates.
        typed: for each leaf, whether its number was given as a setting, and so is shown as typed.
        value: the result, for these coordinates.
    """

    branch: Branch
    coordinates: tuple[int, ...] | None
    operands: tuple[Value, ...]
    typed: tuple[bool, ...]
    value: Value


@dataclass(frozen=True, slots=True)
class Executed:
    """An assignment that was executed.

    Attributes:
        assignment: the line of the rule.
        cases: its results, branch by branch; a single one if all coordinates took the same.
        iteration: the iteration of a loop, from 1; 0 outside of loops.
    """

    assignment: Assignment
    cases: tuple[Case, ...]
    iteration: int = 0


@dataclass
class Evaluation:
    """The evaluation of a rule's statements: symbols take values as the lines are executed.

    Attributes:
        values: the value of each symbol.
        mixtures: the same, remembering what they are made of, where they are made of several parts.
        typed: the symbols whose numbers are settings.
        specimen: makes something that has the weights' shape and dtype, for the few rules that ask.
        executed: the lines that acted so far.
    """

    values: dict[str, Value]
    mixtures: dict[str, Value]
    typed: set[str]
    specimen: Callable[[], Value]
    executed: list[Executed] = field(default_factory=list)

    def run(self, statements: Iterable[Statement], iteration: int = 0) -> None:
        """Execute statements."""
        for statement in statements:
            match statement:
                case Assignment():
                    self._assign(statement, iteration)
                case Unpacking(symbols, source, function, apply):
                    self.values.update(zip(symbols, apply(self.values[source]), strict=True))
                    self.typed.update(() if function else symbols)
                case Guard(_, condition, then, otherwise):
                    holds = condition.evaluate([self._value(leaf) for leaf in condition.leaves])
                    if isinstance(holds, tuple):
                        raise UsageError("the condition of an if cannot depend on the coordinate; use where.")
                    self.run(then if holds else otherwise, iteration)
                case Loop(count, body):
                    for number in range(self.values[count]):
                        self.run(body, number + 1)

    def _assign(self, assignment: Assignment, iteration: int) -> None:
        size = next((len(v) for n in assignment.spreading if isinstance(v := self.values[n], tuple)), None)
        decisions = self._decide(assignment)
        if isinstance(decisions, list):
            cases = self._cases(assignment, decisions)
        else:
            cases = (self._case(assignment.branch(decisions), None, size),)
        self.executed.append(Executed(assignment, cases, iteration))
        mixtures = [self._mixtures(case) for case in cases]
        self.values[assignment.symbol] = _joined(cases, [case.value for case in cases])
        self.mixtures[assignment.symbol] = _joined(cases, mixtures)
        self.typed.discard(assignment.symbol)

    def _decide(self, assignment: Assignment) -> tuple[Decision, ...] | list[tuple[Decision, ...]]:
        """Decide the conditions of an assignment, for each coordinate if they depend on it."""
        conditions = assignment.conditions
        if not conditions:
            return ()
        answers = [
            c.calculation.evaluate([self._value(leaf) for leaf in c.calculation.leaves]) for c in conditions
        ]
        if any(hasattr(answer, "numel") and answer.numel() > 1 for answer in answers):
            raise UsageError(
                f"the line of {assignment.symbol} has a condition that differs within a matrix, which no "
                "explanation can show; write it with maximum, minimum or sign."
            )
        size = next((len(answer) for answer in answers if isinstance(answer, tuple)), None)
        columns = [a if isinstance(a, tuple) else repeat(a, size or 1) for a in answers]
        decisions = []
        for row in zip(*columns, strict=True):
            decided: list[Decision] = []
            for condition, answer in zip(conditions, row, strict=True):
                asked = condition.parent is None or decided[condition.parent] is condition.under
                decided.append(bool(answer) if asked else None)
            decisions.append(tuple(decided))
        return decisions[0] if len(set(decisions)) == 1 else decisions

    def _cases(self, assignment: Assignment, decisions: list[tuple[Decision, ...]]) -> tuple[Case, ...]:
        groups: dict[tuple[Decision, ...], list[int]] = {}
        for coordinate, decided in enumerate(decisions):
            groups.setdefault(decided, []).append(coordinate)
        return tuple(
            self._case(assignment.branch(decided), tuple(group), len(group))
            for decided, group in groups.items()
        )

    def _case(self, branch: Branch, coordinates: tuple[int, ...] | None, size: int | None) -> Case:
        leaves = branch.calculation.leaves
        operands = tuple(_taken(self._value(leaf), leaf, coordinates) for leaf in leaves)
        typed = tuple(leaf.name in self.typed and not leaf.fact for leaf in leaves)
        value = _of_size(branch.calculation.evaluate(operands), size)
        return Case(branch, coordinates, operands, typed, value)

    def _mixtures(self, case: Case) -> Value:
        """Return a case's result, remembering its parts."""
        calculation = case.branch.calculation
        leaves = [_taken(self._with_parts(leaf), leaf, case.coordinates) for leaf in calculation.leaves]
        if not any(map(_remembers, leaves)):
            return case.value
        size = len(case.value) if isinstance(case.value, tuple) else None
        return _of_size(calculation.evaluate_mixtures(leaves), size)

    def _value(self, leaf: Leaf) -> Value:
        return FUNCTIONS[leaf.fact].compute(self.specimen()) if leaf.fact else self.values[leaf.name]

    def _with_parts(self, leaf: Leaf) -> Value:
        value = self._value(leaf)
        return value if leaf.fact else self.mixtures.get(leaf.name, value)


@dataclass
class RoundedEvaluation(Evaluation):
    """An evaluation in which the value of each line is rounded, as it is where a line is computed in a dtype.

    Attributes:
        nearest: rounds a number; those that are not of the weights' shape stay as they are.
    """

    nearest: Callable[[float], float] = float

    def _assign(self, assignment: Assignment, iteration: int) -> None:
        super()._assign(assignment, iteration)
        value = self.values[assignment.symbol]
        if isinstance(value, tuple):
            self.values[assignment.symbol] = tuple(map(self.nearest, value))
        elif hasattr(value, "apply_"):
            self.values[assignment.symbol] = value.clone().apply_(self.nearest)


def _taken(value: Value, leaf: Leaf, coordinates: tuple[int, ...] | None) -> Value:
    """Return the values of some coordinates; of all where all are looked at."""
    if coordinates is None or leaf.whole or not isinstance(value, tuple):
        return value
    return tuple(value[coordinate] for coordinate in coordinates)


def _of_size(value: Value, size: int | None) -> Value:
    return value if size is None or isinstance(value, tuple) else (value,) * size


def _remembers(value: Value) -> bool:
    return any(isinstance(v, Mixture) for v in (value if isinstance(value, tuple) else (value,)))


def _joined(cases: Sequence[Case], values: Sequence[Value]) -> Value:
    """Return the values of all coordinates in their order."""
    if cases[0].coordinates is None:
        return values[0]
    joined: dict[int, Value] = {}
    for case, value in zip(cases, values, strict=True):
        joined.update(zip(case.coordinates or (), value, strict=True))
    return tuple(joined[coordinate] for coordinate in sorted(joined))
