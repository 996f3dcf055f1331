"""What pydantic finds wrong with a trace file, as a place and a reason on one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optitrace.tracing.trace_file import SCHEMA
from optitrace.tracing.trace_shape import FIELDS
from optitrace.version import __version__

if TYPE_CHECKING:
    from pydantic import ValidationError

SYNTAX = {
    "EOF": "it ends in the middle, as a file does that was cut short",
    "recursion limit exceeded": "it is nested too deeply for a trace",
    "invalid unicode code point": "it is not UTF-8",
    "number out of range": "a number has too many digits",
}
"""What a fault of syntax means, by how the parser's words begin."""

NAMED_BY_THE_FILE = ("state", "hyperparameters", "versions")
"""The objects whose keys are not the format's."""

LONGEST = 40
"""How many characters of a text are quoted."""


def sentence(error: ValidationError, prefix: str) -> str:
    """Return where a file departs from the shape of a trace, and how.

    Args:
        error: what pydantic says.
        prefix: where in the file the checked content stands; empty if it is the whole file.
    """
    faults: list[Any] = error.errors(include_url=False)
    if faults[0]["type"] == "json_invalid":
        return _syntax(faults[0]["ctx"]["error"], prefix)
    if faults[0]["loc"] == ():
        return f"{_at(prefix)}it is JSON, but no trace: {_kind(faults[0]['input'])} and no object"
    for fault in faults:
        if fault["loc"] == ("schema",):
            return f"{_at(prefix)}{_schema(fault)}"
    fault = _deepest(faults)
    place, given = _place(fault["loc"]), fault["input"]
    if fault["type"] == "missing":
        return f"{_at(prefix)}{place} is missing"
    if fault["type"] == "extra_forbidden":
        where = f"{place}." if place else ""
        return (
            f"{_at(prefix)}{where}{str(fault['loc'][-1])[:LONGEST]} is not known; a trace has no such entry"
        )
    reason = fault["msg"].replace("Input should", "it should").replace(" valid ", " ")
    return f"{_at(prefix)}{place} is {_kind(given)}; {reason[0].lower()}{reason[1:]}"


def _syntax(words: str, prefix: str) -> str:
    reason, _, position = words.rpartition(" at line ")
    line, _, column = position.partition(" column ")
    meaning = next((m for start, m in SYNTAX.items() if reason.startswith(start)), None)
    return f"{prefix or f'line {line}'}, column {column}: {meaning or f'it is not JSON: {reason}'}"


def _schema(fault: dict[str, Any]) -> str:
    if fault["type"] == "missing":
        return "it is JSON, but no trace of optitrace: it has no schema"
    return (
        f"its schema is {_kind(fault['input'])}, and optitrace {__version__} reads schema {SCHEMA} alone; "
        "read it with the version that wrote it"
    )


def _deepest(faults: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the first fault; of several readings of one value, the one that came furthest."""
    first = _place(faults[0]["loc"])
    same = [fault for fault in faults if _place(fault["loc"]).startswith(first)]
    return max(same, key=lambda fault: len(_place(fault["loc"])))


def _place(location: Sequence[str | int]) -> str:
    """Return a place as ``steps[3].state.exp_avg[0]``, without pydantic's names of the readings it tried."""
    place = ""
    parent: str | int = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif parent in NAMED_BY_THE_FILE or part in FIELDS:
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
