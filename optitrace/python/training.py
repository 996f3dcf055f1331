"""A training that was watched from within: its numbers, its faults, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from optitrace.analysis.training.diagnoses.diagnose import diagnose
from optitrace.analysis.training.findings import Diagnosis, RuleAgreement, TrainingFindings
from optitrace.errors import UsageError
from optitrace.python.shown import Shown
from optitrace.python.tensors import tensor_of
from optitrace.records import training
from optitrace.text.number_format import first_of
from optitrace.views.grid import Look
from optitrace.views.training_formats import training_chunks, training_html

if TYPE_CHECKING:
    from rich.console import RenderableType
    from torch import Tensor

MOST_NAMED = 8
"""How many optimizers a message lists."""


class Source(Protocol):
    """Where what is told of a training comes from."""

    @property
    def record(self) -> training.Training:
        """What was seen so far."""

    @property
    def verified(self) -> tuple[RuleAgreement, ...]:
        """How each optimizer stands to its rule so far."""

    def begin(self) -> None:
        """Begin to watch."""

    def end(self, error: BaseException | None) -> None:
        """Watch no longer."""

    def kept(self) -> Kept:
        """Return what stays of a training that is over."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays of a training that is over, wherever it goes.

    Attributes:
        record: what was seen.
        verified: how each optimizer stands to its rule.
    """

    record: training.Training
    verified: tuple[RuleAgreement, ...]

    def begin(self) -> None:
        """Refuse to go on: the optimizers are not here.

        Raises:
            UsageError: always.
        """
        raise UsageError("a copy of a training watches nothing; call optitrace.watch() with the optimizers.")

    def end(self, error: BaseException | None) -> None:
        """Do nothing."""

    def kept(self) -> Kept:
        """Return this."""
        return self


class Training(Shown):
    """What optimizers did while they were watched: readable while they are, and after.

    Printed, it is a table for each optimizer with the faults that were found below; in a notebook, HTML.
    Once it is over, it can be copied and pickled.
    """

    def __init__(self, source: Source, look: Look) -> None:
        """Watch nothing yet; that begins with ``with``."""
        self._source = source
        self._look = look

    def __enter__(self) -> Training:
        """Begin to watch."""
        self._source.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Watch no longer."""
        self._source.end(error)

    def __reduce__(self) -> tuple[type[Training], tuple[Kept, Look]]:
        """Return what a copy is made of.

        Raises:
            UsageError: the training is not over.
        """
        return Training, (self._source.kept(), self._look)

    @property
    def record(self) -> training.Training:
        """What was seen so far, as the rooms of this package pass it on.

        Raises:
            Exception: whatever ended the watching before its time.
        """
        return self._source.record

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """The faults that were found so far, and remarks."""
        return diagnose(self.record)

    @property
    def verified(self) -> tuple[RuleAgreement, ...]:
        """How each optimizer stands to its published rule so far, where ``verify`` was asked for."""
        return self._source.verified

    @property
    def optimizers(self) -> tuple[str, ...]:
        """The names of the optimizers that took a step."""
        return tuple(optimizer.name for optimizer in self.record.optimizers)

    def steps(self, optimizer: str | None = None) -> list[int]:
        """Return the recorded steps of an optimizer, by its name; of the only one if none is given."""
        return list(self._optimizer(optimizer).steps)

    def column(self, name: str, optimizer: str | None = None) -> Tensor:
        """Return a quantity of an optimizer at each recorded step, float64 on the CPU.

        Args:
            name: ``loss``, ``lr``, ``gradient_norm``, ``unclipped_gradient_norm``, ``update_norm``,
                ``weight_norm`` or ``update_ratio``; the name of a state entry or of watched weights, as
                ``0.weight[0,3]``, where they were asked for.
            optimizer: the optimizer's name; the only one if not given.

        Returns:
            Shape (rows,), or (rows, size) of a quantity that is several numbers; NaN where there is no value.

        Raises:
            UsageError: there is no such optimizer or quantity.
        """
        found = self._optimizer(optimizer)
        columns = {**found.state, **found.values, **found.columns}
        if name not in columns:
            there = f"there are {', '.join(columns)}" if columns else "no step of it was recorded"
            raise UsageError(f"{found.name} has no {name!r}; {there}.")
        return tensor_of(columns[name], len(found.steps))

    def by_parameter(self, name: str, optimizer: str | None = None) -> dict[str, Tensor]:
        """Return a norm of each parameter at each recorded step, where ``params`` was asked for.

        Args:
            name: ``gradient_norm``, ``update_norm``, ``weight_norm`` or ``update_ratio``.
            optimizer: the optimizer's name; the only one if not given.

        Returns:
            By the parameter's name, float64 on the CPU of shape (rows,).

        Raises:
            UsageError: there is no such optimizer or norm, or parameters were not recorded.
        """
        found = self._optimizer(optimizer)
        if name not in found.by_parameter:
            there = ", ".join(found.by_parameter) or "none; watch with params=True"
            raise UsageError(f"{found.name} has no {name!r} of each parameter; there are {there}.")
        whole = tensor_of(found.by_parameter[name], len(found.steps))
        return {name: whole[:, k] for k, name in enumerate(found.recorded_parameters)}

    def to_json(self) -> str:
        """Return the training as JSON, as ``optitrace run -o FILE.json`` writes it."""
        return self._text("json")

    def to_csv(self) -> str:
        """Return the training as CSV, as ``optitrace run -o FILE.csv`` writes it."""
        return self._text("csv")

    def __repr__(self) -> str:
        return f"<Training: {first_of(self.optimizers, MOST_NAMED) or 'no step yet'}>"

    def __rich__(self) -> RenderableType:
        from optitrace.views.training_table import render_training

        record = self.record
        return render_training(record, self._findings(record), self._look)

    def _repr_html_(self) -> str:
        record = self.record
        return training_html(record, self._findings(record), self._look)

    def _findings(self, record: training.Training) -> TrainingFindings:
        return TrainingFindings(diagnoses=diagnose(record), verified=self.verified)

    def _text(self, format: str) -> str:
        record = self.record
        return "".join(training_chunks(record, self._findings(record), format, self._look))

    def _optimizer(self, name: str | None) -> training.OptimizerTrace:
        found = [o for o in self.record.optimizers if name in (None, o.name)]
        if len(found) == 1:
            return found[0]
        there = first_of([repr(name) for name in self.optimizers], MOST_NAMED)
        if not there:
            raise UsageError("no optimizer has taken a step; call its step() while it is watched.")
        asked = f"there is no optimizer {name!r}" if name else "there are several optimizers"
        raise UsageError(f"{asked}; name one of {there}.")
