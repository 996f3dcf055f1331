"""What to record of a training: which steps, which norms, and which weights by patterns of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from optitrace.errors import UsageError, did_you_mean, integer, quoted
from optitrace.text import first_of

INTERVAL = 256
"""From this recorded step on, every so many-th is inspected; before, those of powers of two."""

MOST_NAMED = 8
"""How many names a message lists."""

_PATTERN = re.compile(r"(?P<name>.*?)(?:\[(?P<index>[\d,:\s-]*)\])?")


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """What to record of each optimizer, in addition to the columns that are always recorded.

    Attributes:
        every: record only the first step and those that are multiples of this.
        first: record no step before this one.
        last: record no step after this one; None for no end.
        parameters: record the norms of each parameter, too.
        state: record the norms of the state's entries, too.
        patterns: record the weights of parameters with such names: ``layer1.weight[0,3]``, ``*.bias``.
    """

    every: int = 1
    first: int = 1
    last: int | None = None
    parameters: bool = False
    state: bool = False
    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: they make no sense.
        """
        for name, value in (("every", self.every), ("from", self.first)):
            integer(name, value, least=1)
        if self.last is not None and self.last < self.first:
            raise UsageError(f"the last step, {self.last}, comes before the first, {self.first}.")

    def takes(self, step: int) -> bool:
        """Return whether a step is recorded.

        >>> [step for step in range(1, 12) if RecordingConfig(every=5).takes(step)]
        [1, 5, 10]
        """
        if step < self.first or (self.last is not None and step > self.last):
            return False
        return step % self.every == 0 or step == self.first


def is_inspected(row: int) -> bool:
    """Return whether a recorded step, by its number among those from 1, is inspected weight by weight.

    >>> [row for row in range(1, 600) if is_inspected(row)]
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    """
    return row % INTERVAL == 0 or row & (row - 1) == 0


@dataclass(frozen=True, slots=True)
class SelectedWeights:
    """Weights of one parameter that a pattern selects.

    Attributes:
        name: the parameter's name with the index, ``layer1.weight[0,3]``.
        parameter: the place of the parameter among those of the optimizer.
        index: a number or a slice for each axis; empty for all weights.
    """

    name: str
    parameter: int
    index: tuple[int | slice, ...] = ()


@dataclass(frozen=True, slots=True)
class WeightSelection:
    """What the patterns select among the parameters of one optimizer.

    Attributes:
        names: of the parameters.
        weights: those that are selected.
        matching: the patterns that name any parameter.
        complaints: a sentence for each pattern whose index a parameter does not have.
    """

    names: Sequence[str]
    weights: Sequence[SelectedWeights]
    matching: Sequence[str]
    complaints: Sequence[str]


def check_pattern(pattern: str) -> str:
    """Return a pattern that can be read.

    Raises:
        UsageError: it cannot.
    """
    matched = _PATTERN.fullmatch(pattern)
    if matched is None or not pattern.partition("[")[0] or not _is_readable(matched["index"]):
        raise UsageError(
            f"cannot read the pattern {quoted(pattern)}; write it as layer1.weight[0,3] or '*.bias'."
        )
    return pattern


def select(
    patterns: Sequence[str], names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> WeightSelection:
    """Return what patterns select among the parameters with some names and shapes."""
    found: dict[str, list[SelectedWeights]] = {}
    complaints = []
    for pattern in patterns:
        try:
            if matching := _matching(pattern, names, shapes):
                found[pattern] = matching
        except UsageError as error:
            found[pattern] = []
            complaints.append(str(error))
    unique = {one.name: one for matching in found.values() for one in matching}
    return WeightSelection(names, tuple(unique.values()), tuple(found), tuple(complaints))


def complaints_about(patterns: Sequence[str], selections: Sequence[WeightSelection]) -> list[str]:
    """Return a sentence for each pattern that matched nothing, or has an index that no parameter has.

    Args:
        patterns: all that were given.
        selections: what they select of each optimizer; where there is none, nothing can be said.
    """
    if not selections:
        return []
    said = [sentence for selection in selections for sentence in selection.complaints]
    names = list(dict.fromkeys(name for selection in selections for name in selection.names))
    matching = {pattern for selection in selections for pattern in selection.matching}
    return [*said, *(_no_match(pattern, names) for pattern in patterns if pattern not in matching)]


def _matching(pattern: str, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> list[SelectedWeights]:
    matched = _PATTERN.fullmatch(pattern)
    assert matched is not None
    found = [k for k, name in enumerate(names) if fnmatchcase(name, matched["name"])]
    text = matched["index"]
    if text is None:
        return [SelectedWeights(names[k], k) for k in found]
    index = tuple(map(_index_of, text.split(",")))
    for k in found:
        if len(index) > len(shapes[k]) or not all(map(_is_inside, index, shapes[k])):
            shape = ", ".join(map(str, shapes[k]))
            raise UsageError(f"{names[k]} has no place [{text}]: its shape is ({shape}); count from 0.")
    return [SelectedWeights(f"{names[k]}[{text}]", k, index) for k in found]


def _no_match(pattern: str, names: Sequence[str]) -> str:
    guess = did_you_mean(pattern.partition("[")[0], names) or ";"
    there = first_of(names, MOST_NAMED)
    return f"the pattern {quoted(pattern)} matches no parameter{guess} choose from: {there}."


def _is_readable(text: str | None) -> bool:
    """Return whether torch takes the index in brackets, if there is one."""
    try:
        index = [] if text is None else list(map(_index_of, text.split(",")))
    except (ValueError, TypeError):  # no number, or a slice of more than three
        return False
    return all(one.step is None or one.step > 0 for one in index if isinstance(one, slice))


def _index_of(text: str) -> int | slice:
    if ":" in text:
        return slice(*(int(number) if number.strip() else None for number in text.split(":")))
    return int(text)


def _is_inside(index: int | slice, size: int) -> bool:
    return bool(range(size)[index]) if isinstance(index, slice) else -size <= index < size
