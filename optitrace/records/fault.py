"""What pydantic finds wrong with a saved file, as a place and a reason on one line."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from optitrace.errors import InputFileError, printable
from optitrace.version import __version__

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

    from optitrace.records.schema import Form

SYNTAX = {
    "EOF": "it ends in the middle, so it was probably cut short",
    "recursion limit exceeded": "it is nested too deeply",
    "invalid unicode code point": "it is not UTF-8",
    "number out of range": "a number has too many digits",
}
"""What a fault of syntax means, by how the parser's words begin."""

LONGEST = 40
"""How many characters of a text are quoted."""


class FaultError(InputFileError):
    """What is wrong with a content, without the name of its file."""


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
    if isinstance(value, list | tuple):
        return type(value)(_printable_texts(member, place) for member in value)
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: _printable_texts(getattr(value, field.name), place) for field in fields(value)}
        return replace(value, **own)
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
        return f"{_at(prefix)}it is JSON, but not a {form.noun}: {_kind(faults[0]['input'])}, not an object"
    for fault in faults:
        if fault["loc"] == ("schema",):
            return f"{_at(prefix)}{_schema(fault, form)}"
    place, fault = _deepest(faults, form)
    if fault["type"] == "missing":
        return f"{_at(prefix)}{place} is missing"
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        where = f"{place}." if place else ""
        entry = str(fault["loc"][-1])[:LONGEST]
        return f"{_at(prefix)}{where}{entry} is not known; a {form.noun} has no such entry"
    reason = fault["msg"].replace("Input should", "it should").replace(" valid ", " ")
    if fault["type"] in ("dict_type", "dataclass_type"):
        reason = "it should be an object"
    return f"{_at(prefix)}{place} is {_kind(fault['input'])}; {reason[0].lower()}{reason[1:]}"


def _syntax(words: str, prefix: str) -> str:
    reason, _, position = words.rpartition(" at line ")
    line, _, column = position.partition(" column ")
    meaning = next((m for start, m in SYNTAX.items() if reason.startswith(start)), None)
    return f"{prefix or f'line {line}'}, column {column}: {meaning or f'it is not JSON: {reason}'}"


def _schema(fault: dict[str, Any], form: Form) -> str:
    if fault["type"] == "missing":
        return f"it is JSON, but not a {form.noun} of optitrace: it has no schema"
    given = fault["input"]
    known = "only schema 1" if form.schema == 1 else f"schemas 1 to {form.schema}"
    is_newer = type(given) is int and given > form.schema
    remedy = "a newer version wrote it: update to read it" if is_newer else "no version wrote it so"
    return f"its schema is {_kind(given)}, and optitrace {__version__} reads {known}; {remedy}"


def _deepest(faults: Sequence[dict[str, Any]], form: Form) -> tuple[str, dict[str, Any]]:
    """Return the place of the first fault and the fault; of several readings of a value, the deepest."""
    names, free = form.names()
    places = [_place(fault["loc"], names, free) for fault in faults]
    same = [found for found in zip(places, faults, strict=True) if found[0].startswith(places[0])]
    return max(same, key=lambda found: len(found[0]))


def _place(location: Sequence[str | int], names: Set[str], free: Set[str]) -> str:
    """Return a place as ``steps[3].state.exp_avg[0]``, without pydantic's names of the readings it tried.

    Args:
        location: the place as pydantic has it.
        names: those that the form of the file gives.
        free: those of objects whose entries the file names.
    """
    place = ""
    parent: str | int = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif parent in free or part in names:
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
