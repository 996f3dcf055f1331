"""The lines that explain a step: those that act, written as formula, as numbers and as result.

Whoever types a printed line into a calculator must get the number printed beside it. Rounded operands
can spoil that (a small denominator, the difference of two near numbers), so what is printed is evaluated
as it stands, and the operands get more digits until it comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from optitrace.rules.hyperparameter import show
from optitrace.rules.reader.assignments import Branch
from optitrace.rules.reader.calculation import Value
from optitrace.rules.reader.evaluation import Case, Executed
from optitrace.rules.reader.notation import Spelling
from optitrace.text import format_number, format_operand

Values: TypeAlias = "float | tuple[float, ...] | tuple[tuple[float, ...], ...]"
"""A number; one for each weight; or the rows of a matrix of more than one row."""

SHOWN = 4
"""The most coordinates that are written; of more, the first and the last two are."""

MOST_EXTRA_DIGITS = 24
"""Enough to write any number that has a fixed form exactly."""


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
        iteration: the iteration of a loop, from 1; 0 outside of loops.
        names: what the formula is made from, conditions included, as the rule's function spells it.
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
    names: frozenset[str] = frozenset()

    def __str__(self) -> str:
        shown_parts = [self.symbol]
        for part, following in ((self.formula, self.filled), (self.filled, self.result)):
            if part != following and not _is_the_same_number(part, following):
                shown_parts.append(part)
        return " = ".join([*shown_parts, self.result])


@dataclass(frozen=True, slots=True)
class View:
    """The view of a step: the coordinates shown, and their format.

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
            names=branch.names,
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


@dataclass(frozen=True, slots=True)
class Written:
    """A value as text, and the value that the text stands for."""

    text: str
    value: Value


@dataclass(frozen=True, slots=True)
class Style:
    """The format of values.

    Attributes:
        precision: the number of decimals.
        spelling: the signs.
        is_shortened: whether coordinates were left out, between the first and the last two.
    """

    precision: int
    spelling: Spelling
    is_shortened: bool = False

    def write(self, value: Value, extra: int = 0) -> Written:
        """Write a value with `extra` digits beyond the precision."""
        if isinstance(value, float | int):
            text = format_operand(value, self.precision, extra)
            return Written(self.spelling.number(text), float(text))
        if isinstance(value, tuple):
            return self._vector(value, extra)
        return self._matrix(value, extra)

    def write_exactly(self, value: float) -> Written:
        """Write a number of the settings, or a fact about the weights."""
        mantissa, exponent = math.frexp(value)
        if isinstance(value, float) and mantissa == 0.5 and exponent < -10:
            power = self.spelling.number(str(exponent - 1))
            return Written(f"2{self.spelling.raise_to(power)}", value)
        return Written(self.spelling.number(show(value)), value)

    def _vector(self, value: tuple[float, ...], extra: int) -> Written:
        kept = shown(len(value))
        texts = [format_operand(value[i], self.precision, extra) for i in kept]
        rounded = tuple(map(float, texts))
        if len(kept) < len(value):
            rounded = rounded[: SHOWN // 2] + value[SHOWN // 2 : -SHOWN // 2] + rounded[SHOWN // 2 :]
        texts = self._shortened([self.spelling.number(text) for text in texts], len(value))
        return Written(f"({', '.join(texts)})" if len(texts) > 1 else texts[0], rounded)

    def _matrix(self, value: Value, extra: int) -> Written:
        """Write a matrix: commas between the entries of a row, semicolons between rows."""
        rows: list[list[float]] = value.tolist() if value.dim() == 2 else [[value.item()]]
        height, width = len(rows), len(rows[0])
        down, across = (
            (_ends(height), _ends(width)) if height * width > SHOWN else (range(height), range(width))
        )
        texts = {(i, j): format_operand(rows[i][j], self.precision, extra) for i in down for j in across}
        for (i, j), text in texts.items():
            rows[i][j] = float(text)
        signed = [[self.spelling.number(texts[i, j]) for j in across] for i in down]
        lines = [", ".join(self._shortened(row, width)) for row in signed]
        text = "; ".join(self._shortened(lines, height))
        return Written(f"({text})" if len(texts) > 1 else text, value.new_tensor(rows).reshape(value.shape))

    def _shortened(self, texts: list[str], size: int) -> list[str]:
        """Return the texts of `size` values, with an ellipsis in the middle where some are left out."""
        if len(texts) == size and not self.is_shortened:
            return texts
        half = len(texts) // 2
        return [*texts[:half], self.spelling.ellipsis, *texts[half:]]


def shown(size: int) -> list[int]:
    """Return the coordinates, from 0, that are written of so many.

    >>> shown(3), shown(9)
    ([0, 1, 2], [0, 1, 7, 8])
    """
    half = SHOWN // 2
    return list(range(size)) if size <= SHOWN else [*range(half), *range(size - half, size)]


@dataclass
class Filling:
    """A branch's formula with numbers in it.

    Attributes:
        branch: the branch.
        operands: the values of its leaves.
        typed: for each leaf, whether it is shown as typed.
        value: the result.
        style: how values are written.
    """

    branch: Branch
    operands: Sequence[Value]
    typed: Sequence[bool]
    value: Value
    style: Style
    _written: dict[tuple[int, int], Written] = field(default_factory=dict)

    def text(self) -> str:
        """Return the formula with numbers that make it true, and no more digits than that takes."""
        extras = [0] * len(self.operands)
        while not self._is_true(extras) and extras and extras[0] < MOST_EXTRA_DIGITS:
            extras = [extra + 1 for extra in extras]
        for number, most in enumerate(extras):
            for fewer in range(most):
                fewer_digits = [*extras[:number], fewer, *extras[number + 1 :]]
                if self._is_true(fewer_digits):
                    extras = fewer_digits
                    break
        texts = [self._write(number, extra).text for number, extra in enumerate(extras)]
        return self.branch.template(self.style.spelling).fill(texts)

    def _write(self, number: int, extra: int) -> Written:
        if (number, extra) not in self._written:
            value = self.operands[number]
            exactly = self.typed[number] or self.branch.calculation.leaves[number].fact
            written = self.style.write_exactly(value) if exactly else self.style.write(value, extra)
            self._written[number, extra] = written
        return self._written[number, extra]

    def _is_true(self, extras: Sequence[int]) -> bool:
        printed = [self._write(number, extra).value for number, extra in enumerate(extras)]
        calculated = _numbers(self.branch.calculation.evaluate(printed))
        if len(calculated) < len(self._intervals):
            calculated *= len(self._intervals)
        return all(
            abs(number - middle) <= half or str(number) == str(middle)
            for number, (middle, half) in zip(calculated, self._intervals, strict=True)
        )

    @cached_property
    def _intervals(self) -> list[tuple[float, float]]:
        return [_interval(value, self.style.precision) for value in _numbers(self.value)]


def _interval(value: float, precision: int) -> tuple[float, float]:
    """Return the middle and half the width of the numbers that are printed as a value is.

    Halfway between two printed numbers, either is right.
    """
    if value == 0 or not math.isfinite(value):
        return value, 0.0
    printed = format_number(value, precision)
    exponent = printed.partition("e")[2]
    return float(printed), 0.5 * (1 + 1e-9) * 10.0 ** (int(exponent or 0) - precision)


def _numbers(value: Value) -> list[float]:
    if isinstance(value, float | int):
        return [value]
    return list(value) if isinstance(value, tuple) else value.flatten().tolist()


def _ends(size: int) -> Sequence[int]:
    return (0, size - 1) if size > 2 else range(size)
