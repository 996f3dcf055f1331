"""The tape: what a rule did in one step, operation by operation, for any numbers of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class UnrecordableError(Exception):
    """A rule does what no line of a tape says; it is run as it stands."""


class OperandKind(Enum):
    """What a line of a tape gives."""

    WEIGHTS = "weights"
    """A number for each weight, in the dtype of the weights."""
    COLUMN = "column"
    """A float64 number for each configuration."""
    CONDITION = "condition"
    """A truth value for either."""


class TapeLine(NamedTuple):
    """One operation.

    Attributes:
        operation: its name; ``input`` where something comes in.
        kind: what it gives.
        operands: lines by their place on the tape; a Python number, which the step brings, by ~ its place
            among the numbers.
        name: what comes in; empty for an operation.
    """

    operation: str
    kind: OperandKind
    operands: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Tape:
    """The operations of one step. Two steps that differ in nothing but Python numbers have equal tapes.

    Attributes:
        lines: the operations, each after its operands.
        outputs: the places of what the step leaves behind, by name; what comes in under the same name in
            the next step.
    """

    lines: tuple[TapeLine, ...]
    outputs: tuple[tuple[str, int], ...]

    @property
    def inputs(self) -> Mapping[str, int]:
        """The places of what comes in, by name."""
        return {line.name: place for place, line in enumerate(self.lines) if line.operation == "input"}

    @property
    def powers(self) -> tuple[int, ...]:
        """The places of powers: torch computes them, since no other library gives its last bits."""
        return tuple(place for place, line in enumerate(self.lines) if line.operation == "power")

    @property
    def before_powers(self) -> tuple[int, ...]:
        """The places of all that the powers are made from, and of the powers, in order."""
        wanted = set(self.powers)
        for place in reversed(range(len(self.lines))):
            if place in wanted:
                wanted.update(operand for operand in self.lines[place].operands if operand >= 0)
        return tuple(sorted(wanted))
