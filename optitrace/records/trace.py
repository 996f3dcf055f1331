"""The trace: what one run did, step by step. Holding, reading and showing one needs no torch."""

from __future__ import annotations

import math
import platform
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from optitrace.experiment.experiment import Experiment

Numbers: TypeAlias = "array[float] | memoryview[float]"
"""Float64 numbers in a row: in memory, or in a file that is mapped into it."""


class Status(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    NON_FINITE = "non-finite"
    INTERRUPTED = "interrupted"
    OUT_OF_MEMORY = "out of memory"
    TARGET_REACHED = "target reached"
    TARGET_NOT_REACHED = "target not reached"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and where.

    Attributes:
        status: how it ended. A run that met a number that is not finite goes on to its last step.
        step: the first step with a number that is not finite, or the last step that was taken; None
            for a run that completed.
        quantity: which quantity was not finite: ``loss``, ``gradient``, ``weights``, a state entry, or
            the ``final_loss``, where the next step would have been the first; or the target that was
            reached, or was not.
        reason: the sentence that says what failed, in a run that could not go on.
    """

    status: Status = Status.COMPLETED
    step: int | None = None
    quantity: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Versions:
    """What the run was made with."""

    optitrace: str
    torch: str
    python: str = platform.python_version()


@dataclass(frozen=True, slots=True)
class Column:
    """One quantity over the rows of a trace.

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

    def __reduce__(self) -> tuple[type[Column], tuple[Numbers, tuple[int, ...], int]]:
        """Return what a copy is made of: numbers in memory, as what is mapped of a file stays here."""
        values = self.values if isinstance(self.values, array) else array("d", self.values)
        return Column, (values, self.shape, self.first)


@dataclass(frozen=True, slots=True)
class Trace:
    """One run.

    Row 0 is the start: weights, and nothing else. The row of step k holds the loss and the gradient
    that step k used, the lr that it used, and the weights and the state after it.

    Attributes:
        experiment: what was run.
        versions: what it was run with.
        outcome: how it ended.
        steps: the step of each row: 0, then every step or every K-th, and the last.
        loss: the loss that the step used, a scalar.
        gradient: the gradient that the step used, shape (coordinates,).
        weights: the weights after the step, shape (coordinates,).
        lr: the learning rate that the step used, a scalar.
        state: each entry of the optimizer's state after the step, by torch's name. Of an entry that
            is a list, how many members it has.
        final_loss: the loss at the last weights.
        beside: what else the step used: the ``unclipped_gradient`` where gradients are clipped, and the
            ``momentum`` where a schedule moves it.
    """

    experiment: Experiment
    versions: Versions
    outcome: Outcome
    steps: array[int]
    loss: Column
    gradient: Column
    weights: Column
    lr: Column
    state: Mapping[str, Column]
    final_loss: float
    beside: Mapping[str, Column] = field(default_factory=dict)

    @property
    def columns(self) -> Mapping[str, Column]:
        """Every column but the state's, by name, in the order in which they are written."""
        always = {"loss": self.loss, "gradient": self.gradient, "weights": self.weights, "lr": self.lr}
        return {**always, **self.beside}
