"""Columns as they are read from the rows of a file, once they are seen to be of one form throughout."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from optitrace.records.file_content import FaultError
from optitrace.records.trace import Column
from optitrace.text.number_format import counted

PlaceOf = Callable[[int], str]
"""What the file calls the row of an index."""


def vectors(name: str, values: Sequence[list[float]], first: int, size: int, place: PlaceOf) -> Column:
    """Return a column of vectors that must have `size` coordinates each.

    Raises:
        FaultError: one has not.
    """
    if set(map(len, values)) - {size}:
        wrong = next(k for k, value in enumerate(values) if len(value) != size)
        raise FaultError(
            f"{place(wrong + first)}{name} has {counted(len(values[wrong]), 'coordinate')}, not {size}"
        )
    return Column(array("d", chain.from_iterable(values)), (size,), first)


def entry(name: str, values: Sequence[Any], first: int, place: PlaceOf) -> Column:
    """Return a column of numbers, or of lists of equal lengths.

    Raises:
        FaultError: the values are not alike.
    """
    if values and isinstance(values[0], list):
        if all(type(value) is list for value in values):
            return vectors(name, values, first, len(values[0]), place)
    elif list not in set(map(type, values)):
        return Column(array("d", values), (), first)
    wrong = next(k for k, value in enumerate(values) if type(value) is not type(values[0]))
    kinds = ("a list", "a number") if isinstance(values[wrong], list) else ("a number", "a list")
    raise FaultError(f"{place(wrong + first)}{name} is {kinds[0]}, and {kinds[1]} in the row before")


def begun(name: str, values: Sequence[Any], place: PlaceOf) -> Column:
    """Return a column whose first rows may be without a value, which stands as None there.

    Raises:
        FaultError: a row is without one after a row that has one, or the values are not alike.
    """
    first = next((k for k, value in enumerate(values) if value is not None), len(values))
    values = values[first:]
    if None in values:
        raise FaultError(f"{place(values.index(None) + first)}{name} is null, and the row before has it")
    return entry(name, values, first, place)


def by_name(what: str, rows: Sequence[Mapping[str, Any]], place: PlaceOf) -> dict[str, Column]:
    """Return the columns of what stands in each row as an object; what is there once must be ever after.

    Raises:
        FaultError: an entry vanishes, its values are not alike, or it has no name.
    """
    columns = {}
    for name in dict.fromkeys(chain(rows[-1], chain.from_iterable(rows))):
        if not name:
            raise FaultError(f"the {what} has an entry whose name is empty")
        first = next(k for k, row in enumerate(rows) if name in row)
        try:
            values = [row[name] for row in rows[first:]]
        except KeyError:
            missing = next(k for k in range(first, len(rows)) if name not in rows[k])
            raise FaultError(f"{place(missing)}{what}.{name} is missing, and the row before has it") from None
        columns[name] = entry(f"{what}.{name}", values, first, place)
    return columns
