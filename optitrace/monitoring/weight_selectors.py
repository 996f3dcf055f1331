"""Patterns that select weights to record: ``layer1.weight[0,3]``, ``*.bias``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.text.number_format import first_of

_INDEXED = re.compile(r"(?P<name>.*?)(?:\[(?P<index>[\d,:\s-]*)\])?")

MOST_NAMED = 8
"""How many names a message lists."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Weights to be recorded.

    Attributes:
        name: what they are called, with their place: ``layer1.weight[0,3]``.
        parameter: the number of the parameter.
        place: where in it, a number or a slice for each axis; all of it if empty.
    """

    name: str
    parameter: int
    place: tuple[int | slice, ...] = ()


@dataclass(frozen=True, slots=True)
class Matches:
    """What the patterns name among the parameters of one optimizer.

    Attributes:
        names: of the parameters.
        watched: the weights that are named.
        named: the patterns that name any parameter.
        complaints: a sentence for each that names a place that a parameter does not have.
    """

    names: Sequence[str]
    watched: Sequence[Watched]
    named: Sequence[str]
    complaints: Sequence[str]


def match(patterns: Sequence[str], names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Matches:
    """Return what patterns name among parameters."""
    found: dict[str, list[Watched]] = {}
    complaints = []
    for pattern in patterns:
        try:
            if matching := watched(pattern, names, shapes):
                found[pattern] = matching
        except UsageError as error:
            found[pattern] = []
            complaints.append(str(error))
    unique = {one.name: one for matching in found.values() for one in matching}
    return Matches(names, tuple(unique.values()), tuple(found), tuple(complaints))


def check_pattern(pattern: str) -> str:
    """Return a pattern that can be read.

    Raises:
        UsageError: it cannot.
    """
    matched = _INDEXED.fullmatch(pattern)
    if matched is None or not pattern.partition("[")[0] or not _is_readable(matched["index"]):
        raise UsageError(
            f"cannot read the pattern {quoted(pattern)}; write it as layer1.weight[0,3] or '*.bias'."
        )
    return pattern


def watched(pattern: str, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> list[Watched]:
    """Return the weights that a pattern names among parameters; none if it names none.

    Raises:
        UsageError: it names a place that a parameter does not have.
    """
    matched = _INDEXED.fullmatch(pattern)
    assert matched is not None
    found = [k for k, name in enumerate(names) if fnmatchcase(name, matched["name"])]
    index = matched["index"]
    if index is None:
        return [Watched(names[k], k) for k in found]
    place = tuple(_place(part) for part in index.split(","))
    for k in found:
        if len(place) > len(shapes[k]) or not all(map(_is_inside, place, shapes[k])):
            raise UsageError(
                f"{names[k]} has no place [{index}]: its shape is {_shown(shapes[k])}; count from 0."
            )
    return [Watched(f"{names[k]}[{index}]", k, place) for k in found]


def complaints(patterns: Sequence[str], matches: Sequence[Matches]) -> list[str]:
    """Return a sentence for each pattern that named nothing, or no place that there is, in any optimizer.

    Args:
        patterns: all that were given.
        matches: what they name in each optimizer; where there is none, nothing can be said.
    """
    if not matches:
        return []
    said = [sentence for matched in matches for sentence in matched.complaints]
    names = list(dict.fromkeys(name for matched in matches for name in matched.names))
    named = {pattern for matched in matches for pattern in matched.named}
    return [*said, *(no_match(pattern, names) for pattern in patterns if pattern not in named)]


def no_match(pattern: str, names: Sequence[str]) -> str:
    """Return the sentence for a pattern that names no parameter."""
    guess = did_you_mean(pattern.partition("[")[0], names) or ";"
    there = first_of(names, MOST_NAMED)
    return f"the pattern {quoted(pattern)} matches no parameter{guess} there are {there}."


def _is_readable(index: str | None) -> bool:
    """Return whether what stands in brackets, if anything does, names places as torch takes them."""
    try:
        places = [] if index is None else [_place(part) for part in index.split(",")]
    except (ValueError, TypeError):  # no number, or a slice of more than three
        return False
    return all(place.step is None or place.step > 0 for place in places if isinstance(place, slice))


def _place(part: str) -> int | slice:
    if ":" in part:
        return slice(*(int(number) if number.strip() else None for number in part.split(":")))
    return int(part)


def _is_inside(place: int | slice, size: int) -> bool:
    return bool(range(size)[place]) if isinstance(place, slice) else -size <= place < size


def _shown(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
