"""What pydantic finds wrong with a saved file, as a place and a reason on one line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from optitrace.errors import printable
from optitrace.records.file_content import FaultError
from optitrace.records.trace_writer import SCHEMA
from optitrace.version import __version__

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

SYNTAX = {
    "EOF": "it ends in the middle, as a file does that was cut short",
    "recursion limit exceeded": "it is nested too deeply",
    "invalid unicode code point": "it is not UTF-8",
    "number out of range": "a number has too many digits",
}
"""What a fault of syntax means, by how the parser's words begin."""

LONGEST = 40
"""How many characters of a text are quoted."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a file should be.

    Attributes:
        noun: what is saved in it: ``trace``.
        fields: every name that the format itself gives.
        named_by_the_file: the objects whose keys are not the format's.
    """

    noun: str
    fields: Collection[str]
    named_by_the_file: Collection[str]


def validated(adapter: TypeAdapter[Any], content: bytes, place: str, form: Form) -> Any:
    """Return a part of a file as pydantic reads it, with every text in it `printable`.

    All that is read from files comes through here, so that no view has to take care of what a text holds.

    Args:
        adapter: what pydantic reads it as.
        content: the part.
        place: where in the file it stands; empty if it is the whole file.
        form: what the file should be.

    Raises:
        FaultError: it departs from the form.
    """
    from pydantic import ValidationError

    try:
        value = adapter.validate_json(content)
    except ValidationError as error:
        raise FaultError(sentence(error, place, form)) from None
    return _printable_texts(value, place) if _may_hold_unprintable(content) else value


_STRUCTURE = str.maketrans("", "", "\n\r\t")
"""The characters of JSON that are not printable and stand between its texts alone."""


def _may_hold_unprintable(content: bytes) -> bool:
    """Return whether a text of a JSON content may not be printable: as it stands, or behind a backslash."""
    return b"\\" in content or not content.decode(errors="replace").translate(_STRUCTURE).isprintable()


def _printable_texts(value: Any, place: str) -> Any:
    """Return what was read with every text and every name in it printable."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable_texts(member, place) for member in value]
    if not isinstance(value, dict):
        return value
    shown = {printable(name): _printable_texts(member, place) for name, member in value.items()}
    if len(shown) < len(value):
        raise FaultError(f"{_at(place)}names of {', '.join(map(printable, value))} are the same once printed")
    return shown


def sentence(error: ValidationError, prefix: str, form: Form) -> str:
    """Return where a file departs from the form that it should have, and how.

    Args:
        error: what pydantic says.
        prefix: where in the file the checked content stands; empty if it is the whole file.
        form: what it should be.
    """
    faults: list[Any] = error.errors(include_url=False)
    if faults[0]["type"] == "json_invalid":
        return _syntax(faults[0]["ctx"]["error"], prefix)
    if faults[0]["loc"] == ():
        return f"{_at(prefix)}it is JSON, but no {form.noun}: {_kind(faults[0]['input'])} and no object"
    for fault in faults:
        if fault["loc"] == ("schema",):
            return f"{_at(prefix)}{_schema(fault, form)}"
    fault = _deepest(faults, form)
    place, given = _place(fault["loc"], form), fault["input"]
    if fault["type"] == "missing":
        return f"{_at(prefix)}{place} is missing"
    if fault["type"] == "extra_forbidden":
        where = f"{place}." if place else ""
        entry = str(fault["loc"][-1])[:LONGEST]
        return f"{_at(prefix)}{where}{entry} is not known; a {form.noun} has no such entry"
    reason = fault["msg"].replace("Input should", "it should").replace(" valid ", " ")
    return f"{_at(prefix)}{place} is {_kind(given)}; {reason[0].lower()}{reason[1:]}"


def _syntax(words: str, prefix: str) -> str:
    reason, _, position = words.rpartition(" at line ")
    line, _, column = position.partition(" column ")
    meaning = next((m for start, m in SYNTAX.items() if reason.startswith(start)), None)
    return f"{prefix or f'line {line}'}, column {column}: {meaning or f'it is not JSON: {reason}'}"


def _schema(fault: dict[str, Any], form: Form) -> str:
    if fault["type"] == "missing":
        return f"it is JSON, but no {form.noun} of optitrace: it has no schema"
    return (
        f"its schema is {_kind(fault['input'])}, and optitrace {__version__} reads schema {SCHEMA} alone; "
        "read it with the version that wrote it"
    )


def _deepest(faults: Sequence[dict[str, Any]], form: Form) -> dict[str, Any]:
    """Return the first fault; of several readings of one value, the one that came furthest."""
    first = _place(faults[0]["loc"], form)
    same = [fault for fault in faults if _place(fault["loc"], form).startswith(first)]
    return max(same, key=lambda fault: len(_place(fault["loc"], form)))


def _place(location: Sequence[str | int], form: Form) -> str:
    """Return a place as ``steps[3].state.exp_avg[0]``, without pydantic's names of the readings it tried."""
    place = ""
    parent: str | int = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif parent in form.named_by_the_file or part in form.fields:
            place += f".{part[:LONGEST]}"
        parent = part
    return place.removeprefix(".")


def _kind(value: Any) -> str:
    """Return a value as far as it can be told in a few words."""
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else value[:LONGEST] + "…")
    if isinstance(value, bool | None):
        return str(value).lower().replace("none", "null")
    if isinstance(value, int) and abs(value) >= 10**LONGEST:
        return "a number of too many digits"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, dict) else str(value)


def _at(prefix: str) -> str:
    return f"{prefix}: " if prefix else ""
