"""Numbers put into a formula, with as many digits as make the printed arithmetic true.

Whoever types a printed line into a calculator must get the number printed beside it. Rounded operands
can spoil that (a small denominator, the difference of two near numbers), so what is printed is evaluated
as it stands, and the operands get more digits until it comes out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from optitrace.rules.hyperparameter import show
from optitrace.rules.reader.assignments import Branch
from optitrace.rules.reader.calculation import Value
from optitrace.rules.reader.notation_style import Spelling
from optitrace.text.number_format import format_number, format_operand

SHOWN = 4
"""The most coordinates that are written; of more, the first and the last two are."""

MOST_EXTRA_DIGITS = 24
"""Enough to write any number that has a fixed form exactly."""


@dataclass(frozen=True, slots=True)
class Written:
    """A value as text, and the value that the text stands for."""

    text: str
    value: Value


@dataclass(frozen=True, slots=True)
class Style:
    """How values are written.

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
