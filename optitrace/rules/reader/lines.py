"""The lines that explain a step: those that act, written as formula, as numbers and as result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from optitrace.rules.reader.calculation import Value
from optitrace.rules.reader.evaluation import Case, Executed
from optitrace.rules.reader.notation_style import Spelling
from optitrace.rules.reader.substitution import SHOWN, Filling, Style, shown

Values: TypeAlias = "float | tuple[float, ...] | tuple[tuple[float, ...], ...]"
"""A number; one for each weight; or the rows of a matrix of more than one row."""


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One line of a rule at one step.

    Attributes:
        symbol: what the line computes, as it is written.
        formula: how, in symbols.
        filled: the same with numbers put in: evaluated as it is printed, it gives `result`.
        result: the value as it is written.
        value: the value itself.
        name: the symbol as the rule's function spells it.
        when: the condition on the step that made it so, such as ``t = 1``; empty where there is none,
            or where it is the general case (``t ≠ 1``).
        coordinates: the coordinates, from 1, that the line is about; empty for all of them.
        iteration: the round of a loop, from 1; 0 outside of loops.
    """

    symbol: str
    formula: str
    filled: str
    result: str
    value: Values
    name: str
    when: str = ""
    coordinates: tuple[int, ...] = ()
    iteration: int = 0

    def __str__(self) -> str:
        shown_parts = [self.symbol]
        for part, following in ((self.formula, self.filled), (self.filled, self.result)):
            if part != following and not _is_the_same_number(part, following):
                shown_parts.append(part)
        return " = ".join([*shown_parts, self.result])


@dataclass(frozen=True, slots=True)
class View:
    """What of a step is shown, and how.

    Attributes:
        style: how values are written.
        coordinate: the coordinate to follow, from 0; None for all.
        shape: the shape of the weights if they are a matrix.
    """

    style: Style
    coordinate: int | None
    shape: tuple[int, ...] = ()

    def lines(self, executed: Sequence[Executed], outputs: Iterable[str], weights: str) -> Iterator[RuleLine]:
        """Yield the lines that the outputs of a step come from.

        Args:
            executed: all lines of the step, in their order.
            outputs: the symbols that the step is for: the weights and the state.
            weights: the symbol of the weights, whose last line is shown even where it changes nothing.
        """
        needed = set(outputs)
        acting = []
        for line in reversed(executed):
            symbol = line.assignment.symbol
            cases = [case for case in line.cases if self._is_about(case)]
            unchanged = len(cases) == 1 and cases[0].branch.is_symbol(symbol)
            if symbol not in needed or (unchanged and symbol != weights):
                continue
            needed.discard(symbol)
            needed.update(*(case.branch.names for case in cases))
            acting.append((line, cases))
        for line, cases in reversed(acting):
            yield from (self._line(line, case) for case in cases)

    def _is_about(self, case: Case) -> bool:
        return self.coordinate is None or case.coordinates is None or self.coordinate in case.coordinates

    def _line(self, line: Executed, case: Case) -> RuleLine:
        branch, spelling, symbol = case.branch, self.style.spelling, line.assignment.symbol
        operands, value, is_shortened = self._visible(case)
        coordinates = case.coordinates if case.coordinates and self.coordinate is None else ()
        style = replace(self.style, is_shortened=is_shortened)
        return RuleLine(
            symbol=spelling.symbol(symbol)
            + (f"[{_enumeration(coordinates, spelling)}]" if coordinates else ""),
            formula=branch.formula(spelling),
            filled=Filling(branch, operands, case.typed, value, style).text(),
            result=style.write(value).text,
            value=plain_values(case.value if self.coordinate is None else value),
            name=symbol,
            when=branch.when(spelling),
            coordinates=tuple(number + 1 for number in coordinates),
            iteration=line.iteration,
        )

    def _visible(self, case: Case) -> tuple[tuple[Value, ...], Value, bool]:
        """Return operands and result as far as they are written, and whether some are left out."""
        if self.coordinate is not None and isinstance(case.value, tuple):
            position = case.coordinates.index(self.coordinate) if case.coordinates else self.coordinate
            return *_picked(case, lambda values: values[position]), False
        if self.coordinate is not None and self._is_entry_by_entry(case):
            position = self.coordinate
            return *_picked(case, lambda values: values.flatten()[position]), False
        if isinstance(case.value, tuple) and len(case.value) > SHOWN:
            positions = shown(len(case.value))
            return *_picked(case, lambda values: tuple(values[i] for i in positions)), True
        return case.operands, case.value, False

    def _is_entry_by_entry(self, case: Case) -> bool:
        """Return whether each entry of a matrix of the weights' shape comes from the same entry alone."""
        shapes = [tuple(value.shape) for value in (*case.operands, case.value) if hasattr(value, "shape")]
        return not case.branch.calculation.is_of_matrices and set(shapes) == {self.shape}


def plain_values(value: Value) -> Values:
    """Return a value of the evaluation as Python numbers."""
    if isinstance(value, float | int):
        return float(value)
    if isinstance(value, tuple):
        return value
    if value.numel() == 1:
        return float(value.item())
    rows = tuple(map(tuple, value.tolist()))
    return rows[0] if len(rows) == 1 else rows


def _picked(case: Case, pick: Callable[[Value], Value]) -> tuple[tuple[Value, ...], Value]:
    """Return operands and result for some coordinates, but what has none, or is shown whole, as it is."""
    leaves = case.branch.calculation.leaves
    operands = tuple(
        value if leaf.whole or isinstance(value, float | int) else pick(value)
        for leaf, value in zip(leaves, case.operands, strict=True)
    )
    return operands, pick(case.value)


def _enumeration(coordinates: Sequence[int], spelling: Spelling) -> str:
    texts = [str(coordinates[i] + 1) for i in shown(len(coordinates))]
    if len(texts) < len(coordinates):
        texts.insert(SHOWN // 2, spelling.ellipsis)
    return ", ".join(texts)


def _is_the_same_number(a: str, b: str) -> bool:
    """Return whether two texts are numbers, and the same: ``0`` and ``0.0000``."""
    try:
        return float(a) == float(b)
    except ValueError:
        return False
