"""The columns of an optimizer of a training that its tables of steps and of stretches have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from optitrace.records.quantity import Per, Quantity
from optitrace.records.trace import Column
from optitrace.records.training import WITHOUT_LOSS, OptimizerTrace
from optitrace.text import format_significant
from optitrace.views.display import Display
from optitrace.views.grid import Field, GridColumn, Shown, few_fields, field_texts, number_columns


def significant(display: Display) -> Shown:
    """Return what writes a number with the requested significant digits, zeros at its end included."""
    return partial(format_significant, digits=display.digits)


def shown_rate(display: Display) -> Shown:
    """Return what writes a learning rate with the requested significant digits."""
    digits = display.digits
    return lambda rate: f"{rate:.{digits}g}"


def says_nothing(optimizer: OptimizerTrace, quantity: Quantity) -> bool:
    """Return whether a quantity is the same in every step: no loss at all, or fresh gradients alone."""
    if quantity.may_lack:
        return set(optimizer.gradients) <= set(WITHOUT_LOSS)
    kinds = optimizer.columns[quantity.name].values if quantity.words else ()
    return bool(quantity.words) and all(quantity.words[int(kind)] == "fresh" for kind in kinds)


def requested_columns(optimizer: OptimizerTrace, display: Display) -> list[GridColumn]:
    """Return the requested columns: the state, and the values of parameters."""
    show, per = significant(display), optimizer.ENTRY
    columns: list[GridColumn] = []
    for name, column in optimizer.state.items() if display.state else ():
        columns += number_columns(name, column, show, per=per, is_state=True)
    for name, column in optimizer.values.items():
        columns += number_columns(name, column, show, per=per)
    return columns


def rate_columns(column: Column, rows: Sequence[int], display: Display) -> list[GridColumn]:
    """Return the columns of the learning rate: one, or one for each group where they are not alike."""
    found = (
        [Field("lr", None, column)] if are_alike(column, rows) else few_fields("lr", column, per=Per.GROUP)
    )
    return [GridColumn(f.heading, "lr", partial(field_texts, f, shown_rate(display))) for f in found]


def are_alike(column: Column, rows: Sequence[int]) -> bool:
    """Return whether all groups have the same learning rate in each of some rows."""
    return not column.shape or all(len(set(column.row(row) or ())) <= 1 for row in rows)
