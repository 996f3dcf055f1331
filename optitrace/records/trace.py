"""The trace: one run, step by step. Reading and showing one does not need torch."""

from __future__ import annotations

import math
import platform
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeAlias

from optitrace.experiment.experiment import Experiment
from optitrace.records.quantity import Count, Number, Per, Quantity

Numbers: TypeAlias = "array[float] | memoryview[float]"
"""A sequence of float64 numbers, in memory or in a memory-mapped file."""


class Status(StrEnum):
    """How a run ended; ``running`` is a training that had not ended when it was written."""

    COMPLETED = "completed"
    NON_FINITE = "non-finite"
    INTERRUPTED = "interrupted"
    OUT_OF_MEMORY = "out of memory"
    TARGET_REACHED = "target reached"
    TARGET_NOT_REACHED = "target not reached"
    FAILED = "failed"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and where.

    Attributes:
        status: how it ended. A run with a number that is not finite continues to its last step.
        step: the first step with a number that is not finite, or the last step that was taken; None
            for a run that completed.
        quantity: which quantity was not finite: ``loss``, ``gradient``, ``weights``, a state entry, or
            the ``final_loss``, where the next step would have been the first; or the target that was
            reached, or was not.
        reason: what failed, in a run that could not continue.
    """

    status: Status = Status.COMPLETED
    step: Count | None = None
    quantity: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions that a run was made with."""

    optitrace: str
    torch: str
    python: str = platform.python_version()


@dataclass(frozen=True, slots=True)
class Column:
    """One quantity over the rows of a table.

    Attributes:
        values: the numbers, row after row, each row flat; exact, whatever dtype they came from.
        shape: the shape of one row's value; () for a scalar.
        first: the first row that has a value; the rows before have none.
    """

    values: Numbers
    shape: tuple[int, ...]
    first: int = 0

    @property
    def size(self) -> int:
        """How many numbers a row has."""
        return math.prod(self.shape)

    def row(self, index: int) -> tuple[float, ...] | None:
        """Return the numbers of a row, or None where it has no value."""
        begin = (index - self.first) * self.size
        end = begin + self.size
        if begin < 0 or end > len(self.values):
            return None
        return tuple(self.values[begin:end])

    def at_rows(self, rows: Sequence[int]) -> Column:
        """Return the column restricted to some rows, given in ascending order."""
        absent = bisect_left(rows, self.first)
        values = array("d")
        for row in rows[absent:]:
            begin = (row - self.first) * self.size
            values.extend(self.values[begin : begin + self.size])
        return replace(self, values=values, first=absent)

    def __reduce__(self) -> tuple[type[Column], tuple[Numbers, tuple[int, ...], int]]:
        """Return the arguments of a copy, with numbers in memory: a mapped file cannot be copied."""
        values = self.values if isinstance(self.values, array) else array("d", self.values)
        return Column, (values, self.shape, self.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of numbers in columns: a row for each recorded step.

    Attributes:
        steps: the step of each row, ascending.
        columns: the recorded ones of `QUANTITIES`, by name.
        state: each entry of the optimizer's state after the step, by torch's name.
        values: single weights after the step, flat, by name: ``layer1.weight[0,3]``.
        by_parameter: the quantities that are recorded of each parameter, with a number for each.
    """

    QUANTITIES: ClassVar[tuple[Quantity, ...]] = ()
    """The quantities that can be recorded, in the order of files."""
    RESULT: ClassVar[str] = ""
    """The quantity that a step results in."""
    ENTRY: ClassVar[Per] = Per.ELEMENT
    """The scope of the numbers of a state entry, or of values."""
    ALWAYS: ClassVar[tuple[str, ...]] = ("state",)
    """The groups of columns that every row of a file has, even if empty."""
    ASKED_FOR: ClassVar[tuple[str, ...]] = ()
    """The groups of columns that are recorded only on request."""

    steps: Sequence[int]
    columns: Mapping[str, Column]
    state: Mapping[str, Column] = field(default_factory=dict)
    values: Mapping[str, Column] = field(default_factory=dict)
    by_parameter: Mapping[str, Column] = field(default_factory=dict)

    @property
    def recorded(self) -> list[Quantity]:
        """The quantities that have a column, in the order in which files have them."""
        return [quantity for quantity in self.QUANTITIES if quantity.name in self.columns]

    def named_columns(self) -> dict[str, Column]:
        """Return all that rows have by names of their own: ``state_lr`` where there is an ``lr``, too."""
        named = {quantity.name: self.columns[quantity.name] for quantity in self.recorded}
        for group, columns in (("state", self.state), ("value", self.values)):
            for name, column in columns.items():
                named[f"{group}_{name}" if name in named else name] = column
        return named

    @property
    def recorded_parameters(self) -> list[str]:
        """The names of the parameters that `by_parameter` has."""
        return []

    @property
    def dtype(self) -> str:
        """The dtype in whose units in the last place numbers are compared."""
        return "float64"

    @property
    def last_step(self) -> int:
        """The last step that was taken, recorded or not; 0 if there is none."""
        return self.steps[-1] if self.steps else 0

    @property
    def at_the_end(self) -> Mapping[str, float]:
        """The numbers that are known only at the end of the last step, by name."""
        return {}

    def numbers(self, name: str, row: int) -> tuple[float, ...] | None:
        """Return the numbers of a quantity in a row, or None if it has no value."""
        return self.columns[name].row(row)

    def at_rows(self, rows: Sequence[int]) -> Self:
        """Return some of the rows, which are given in ascending order."""
        if len(rows) == len(self.steps):
            return self
        chosen: dict[str, Any] = {
            group: {name: column.at_rows(rows) for name, column in getattr(self, group).items()}
            for group in ("columns", "state", "values", "by_parameter")
        }
        return replace(self, steps=array("q", [self.steps[row] for row in rows]), **chosen)

    def at_steps(self, steps: Iterable[int]) -> Self:
        """Return the rows of those of these steps that were recorded."""
        wanted = set(steps)
        return self.at_rows([row for row, step in enumerate(self.steps) if step in wanted])

    def between(self, first: int, last: int | None) -> Self:
        """Return the rows of the steps from `first` to `last`; to the end if that is None."""
        end = bisect_right(self.steps, last) if last is not None else len(self.steps)
        return self.at_rows(range(bisect_left(self.steps, first), end))

    def every_kth(self, k: int) -> Self:
        """Return the first row, those of every `k`-th step, and the last row.

        These are the rows that a run that keeps every `k`-th step records.
        """
        ends = (0, len(self.steps) - 1)
        return self.at_rows([row for row, step in enumerate(self.steps) if row in ends or step % k == 0])


@dataclass(frozen=True, slots=True)
class TraceRecord(Table):
    """One run.

    Row 0 is the start: weights, and nothing else. The row of step k holds the loss and the gradient
    that step k used, the lr that it used, and the weights and the state after it. For a state entry that is
    a list, the state has its length.

    Attributes:
        experiment: the experiment that was run.
        versions: the versions that it was run with.
        outcome: how it ended.
        final_loss: the loss at the last weights.
    """

    QUANTITIES: ClassVar[tuple[Quantity, ...]] = (
        Quantity("loss", "The loss that the step used.", first=1),
        Quantity("gradient", "The gradient that the step used.", Per.COORDINATE, first=1),
        Quantity("weights", "The weights after the step.", Per.COORDINATE, is_left=True),
        Quantity("lr", "The learning rate that the step used.", first=1),
        Quantity(
            "unclipped_gradient",
            "The gradient before it was clipped, where gradients are clipped.",
            Per.COORDINATE,
            first=1,
            is_optional=True,
        ),
        Quantity(
            "momentum",
            "The momentum that the step used, where the schedule changes it; for Adam, the first of betas.",
            first=1,
            is_optional=True,
        ),
    )
    RESULT: ClassVar[str] = "weights"
    ENTRY: ClassVar[Per] = Per.COORDINATE

    experiment: Experiment
    versions: Versions
    outcome: Outcome
    final_loss: Number

    @property
    def loss(self) -> Column:
        """The loss that each step used, a scalar."""
        return self.columns["loss"]

    @property
    def gradient(self) -> Column:
        """The gradient that each step used, shape (coordinates,)."""
        return self.columns["gradient"]

    @property
    def weights(self) -> Column:
        """The weights after each step, shape (coordinates,)."""
        return self.columns["weights"]

    @property
    def lr(self) -> Column:
        """The learning rate that each step used, a scalar."""
        return self.columns["lr"]

    @property
    def dtype(self) -> str:
        """The dtype of the run."""
        return self.experiment.dtype

    @property
    def at_the_end(self) -> Mapping[str, float]:
        """The loss at the last weights."""
        return {"final_loss": self.final_loss}


@dataclass(frozen=True, slots=True)
class NamedTrace:
    """A trace with a name: the text of its experiment, or the file that it was read from."""

    name: str
    trace: TraceRecord
