"""Quantities: what is recorded of a run, each declared once.

From a declaration come the check of a file's rows, the JSON Schema, the headers of CSV, the headings of
tables, what `optitrace diff` compares and how it names it, and the documentation of `column`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


class Per(Enum):
    """What a quantity has a number for, at each step."""

    STEP = ""
    COORDINATE = "w{number}"
    GROUP = "group {place}"
    ELEMENT = "[{place}]"

    def owner(self, place: int) -> str:
        """Return what the number at a place belongs to; places count from 0.

        >>> Per.COORDINATE.owner(0), Per.GROUP.owner(0), Per.STEP.owner(0)
        ('w1', 'group 0', '')
        """
        return self.value.format(place=place, number=place + 1)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that is recorded at each step.

    Attributes:
        name: its name in files, in CSV and in Python.
        doc: what it is, as a sentence.
        per: what it has a number for. One of each `Per.GROUP` is a single number where there is one group.
        heading: the two lines above its column in a table; the name if not given.
        first: the first row that has a value; None if it begins in any row.
        is_optional: whether it is recorded only where the program has it.
        may_lack: whether a row may have no value, though earlier rows have one.
        is_left: whether the step leaves it; if not, the step uses it.
        each_parameter: whether it is recorded of each parameter, too, where that is asked for.
        words: what its numbers stand for, by number; empty if they are numbers.
        counts: whether its numbers count something, and have no decimals.
    """

    name: str
    doc: str
    per: Per = Per.STEP
    heading: tuple[str, str] | None = None
    first: int | None = 0
    is_optional: bool = False
    may_lack: bool = False
    is_left: bool = False
    each_parameter: bool = False
    words: tuple[str, ...] = ()
    counts: bool = False

    @property
    def label(self) -> str:
        """What it is called in a sentence."""
        words = self.name.replace("_", " ")
        return f"kind of {words}" if self.words else words


Documented = TypeVar("Documented", bound=Callable[..., Any])


def documents(quantities: Iterable[Quantity]) -> Callable[[Documented], Documented]:
    """Return a decorator that puts what quantities are in the place of ``{quantities}`` in a docstring."""

    def documented(function: Documented) -> Documented:
        text = function.__doc__ or ""  # none where Python runs with -OO
        before, _, after = text.partition("{quantities}")
        margin = before.rpartition("\n")[2]
        lines = f"\n{margin}".join(f"``{quantity.name}``: {quantity.doc}" for quantity in quantities)
        function.__doc__ = f"{before}{lines}{after}"
        return function

    return documented


class Limits:
    """The limits of a value in a file, as pydantic names them: ``ge``, ``lt``, ``min_length``."""

    def __init__(self, **limits: int) -> None:
        self.limits: Mapping[str, Any] = limits

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the check of the type with these limits."""
        return {**handler(source), **self.limits}


class AnyFloat:
    """A float that may be not finite; JSON has no number for such a one, and files have a text."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the check for a number, or a text that stands for one."""
        from pydantic_core import core_schema

        return core_schema.union_schema(
            [
                core_schema.float_schema(strict=True, allow_inf_nan=False),
                core_schema.no_info_after_validator_function(
                    float, core_schema.literal_schema(["NaN", "Infinity", "-Infinity"])
                ),
            ],
            mode="left_to_right",
        )


Number: TypeAlias = Annotated[float, AnyFloat()]
"""Any float."""

Count: TypeAlias = Annotated[int, Limits(ge=0, lt=2**63)]
"""How many, or which one counted from 0."""

StepNumber: TypeAlias = Annotated[int, Limits(ge=1, lt=2**63)]
"""Which step, counted from 1; or how many, at least one."""

Name: TypeAlias = Annotated[str, Limits(min_length=1)]
"""A text that is not empty."""
