"""Fields: a trace as named columns of single numbers, which every table is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optitrace.records.quantity import Per
from optitrace.records.trace import Column

MOST_COORDINATES = 4
"""A table shows the coordinates of a vector up to here; of a longer one, its norm and the first few."""

FIRST_FEW = 3
"""How many coordinates of a longer vector a table shows."""

NORM = 0
"""Stands in place of a coordinate for the Euclidean norm of all."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column of single numbers.

    Attributes:
        quantity: what it is: ``loss``, ``gradient``, ``weights``, ``lr``, ``update`` or a state entry.
        coordinate: which coordinate, from 1; `NORM` for the norm of all; None for a scalar.
        column: where the numbers are.
        is_change: whether the field is the difference between a row's number and that of the row before.
        is_state: whether it is an entry of the optimizer's state.
        per: what a coordinate is.
        title: the heading of a scalar; the quantity's name if not given.
    """

    quantity: str
    coordinate: int | None
    column: Column
    is_change: bool = False
    is_state: bool = False
    per: Per = Per.COORDINATE
    title: tuple[str, str] | None = None

    @property
    def heading(self) -> tuple[str, str]:
        """The two lines of a table's heading: the quantity, and the weight or the state it belongs to."""
        if self.coordinate is None:
            return self.title or (self.quantity, "state" if self.is_state else "")
        return self.quantity, "norm" if self.coordinate == NORM else self.per.owner(self.coordinate - 1)

    def value(self, row: int) -> float | None:
        """Return the number in a row, or None where there is none."""
        here = self.column.row(row)
        if here is None:
            return None
        if not self.is_change:
            return self._of(here)
        before = self.column.row(row - 1) if row else None
        if before is None:
            return None
        return self._of([after - earlier for after, earlier in zip(here, before, strict=True)])

    def _of(self, numbers: Sequence[float]) -> float:
        if self.coordinate == NORM:
            return math.hypot(*numbers)
        return numbers[0 if self.coordinate is None else self.coordinate - 1]


def fields(quantity: str, column: Column, **more: Any) -> list[Field]:
    """Return the fields of a column: one for a scalar, one for each coordinate of a vector.

    What else is known of them is given by the names of the attributes of `Field`.
    """
    coordinates: Sequence[int | None] = range(1, column.size + 1) if column.shape else [None]
    return [Field(quantity, coordinate, column, **more) for coordinate in coordinates]


def few_fields(quantity: str, column: Column, **more: Any) -> list[Field]:
    """Return the fields of a column that a table shows: of a long vector, the first few.

    Of a vector of coordinates its norm stands before them.
    """
    every = fields(quantity, column, **more)
    if len(every) <= MOST_COORDINATES:
        return every
    norm = [Field(quantity, NORM, column, **more)] if every[0].per is Per.COORDINATE else []
    return [*norm, *every[:FIRST_FEW]]
