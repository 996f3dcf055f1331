"""Fields: a trace as named columns of single numbers, which every table is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optitrace.tracing.trace import Column, Trace


@dataclass(frozen=True, slots=True)
class Field:
    """One column of single numbers.

    Attributes:
        quantity: what it is: ``loss``, ``gradient``, ``weights``, ``lr``, ``update`` or a state entry.
        coordinate: which coordinate, from 1; None for a scalar.
        column: where the numbers are.
        is_change: whether the field is the difference between a row's number and that of the row before.
        is_state: whether it is an entry of the optimizer's state.
    """

    quantity: str
    coordinate: int | None
    column: Column
    is_change: bool = False
    is_state: bool = False

    @property
    def heading(self) -> tuple[str, str]:
        """The two lines of a table's heading: the quantity, and the weight or the state it belongs to."""
        if self.coordinate is None:
            return self.quantity, "state" if self.is_state else ""
        return self.quantity, f"w{self.coordinate}"

    def value(self, row: int) -> float | None:
        """Return the number in a row, or None where there is none."""
        offset = 0 if self.coordinate is None else self.coordinate - 1
        here = self.column.row(row)
        if here is None:
            return None
        if not self.is_change:
            return here[offset]
        before = self.column.row(row - 1) if row else None
        return None if before is None else here[offset] - before[offset]


def fields(quantity: str, column: Column, *, is_change: bool = False, is_state: bool = False) -> list[Field]:
    """Return the fields of a column: one for a scalar, one for each coordinate of a vector."""
    coordinates: Sequence[int | None] = range(1, column.size + 1) if column.shape else [None]
    return [Field(quantity, coordinate, column, is_change, is_state) for coordinate in coordinates]


def state_fields(trace: Trace) -> list[Field]:
    """Return the fields of every state entry."""
    return [f for name, column in trace.state.items() for f in fields(name, column, is_state=True)]


def all_fields(trace: Trace) -> list[Field]:
    """Return the fields of everything that is recorded, the state last."""
    recorded = [field for name, column in trace.columns.items() for field in fields(name, column)]
    return recorded + state_fields(trace)
