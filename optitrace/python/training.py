"""Trainings from Python: optimizers watched in a script or a notebook, their records and faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.errors import UsageError
from optitrace.experiment.user_module import reason
from optitrace.monitoring.fault_isolation import deferring_handlers
from optitrace.monitoring.recording_config import RecordingConfig, check_pattern
from optitrace.python.shown import ShownInNotebook
from optitrace.python.traces import tensor_of
from optitrace.records import training
from optitrace.records.findings import Diagnosis, RuleAgreement, TrainingFindings
from optitrace.records.quantity import documents
from optitrace.records.trace import Outcome, Status
from optitrace.text import first_of
from optitrace.views.display import Display
from optitrace.views.presenters.training import TrainingPresenter

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer

MOST_NAMED = 8
"""The number of optimizers that a message lists."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The record of a training that has ended, which can be copied and pickled.

    Attributes:
        record: the training as recorded.
        verified: the agreement of each optimizer with its rule.
    """

    record: training.TrainingRecord
    verified: tuple[RuleAgreement, ...]

    def begin(self) -> None:
        """Refuse to watch: a copy has no optimizers.

        Raises:
            UsageError: always.
        """
        raise UsageError("a copy of a training watches nothing; call optitrace.watch() with the optimizers.")

    def end(self, error: BaseException | None) -> None:
        """Do nothing."""

    def kept(self) -> Kept:
        """Return this."""
        return self


Source: TypeAlias = "Watching | Kept"
"""The source of a training's record."""


class Training(ShownInNotebook):
    """The steps of watched optimizers, readable during the training and afterwards.

    Printed, it is a table for each optimizer with the faults that were found below; in a notebook, HTML.
    Once it is over, it can be copied and pickled.
    """

    def __init__(self, source: Source, display: Display) -> None:
        """Prepare watching, which starts when entered."""
        self._source = source
        self._display = display

    def __enter__(self) -> Training:
        """Start watching."""
        self._source.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop watching."""
        self._source.end(error)

    def __reduce__(self) -> tuple[type[Training], tuple[Kept, Display]]:
        """Return what a copy is made of.

        Raises:
            UsageError: the training is not over.
        """
        return Training, (self._source.kept(), self._display)

    @property
    def record(self) -> training.TrainingRecord:
        """The training as recorded so far.

        Raises:
            Exception: the error that stopped watching early.
        """
        return self._source.record

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """The faults and remarks found so far."""
        return diagnose(self.record)

    @property
    def verified(self) -> tuple[RuleAgreement, ...]:
        """The agreement of each optimizer with its published rule so far, if ``verify`` was requested."""
        return self._source.verified

    @property
    def optimizers(self) -> tuple[str, ...]:
        """The names of the optimizers that took a step."""
        return tuple(optimizer.name for optimizer in self.record.optimizers)

    def steps(self, optimizer: str | None = None) -> list[int]:
        """Return the recorded steps of an optimizer, by its name; of the only one if none is given."""
        return list(self._optimizer(optimizer).steps)

    @documents(training.OptimizerTrace.QUANTITIES)
    def column(self, name: str, optimizer: str | None = None) -> Tensor:
        """Return a quantity of an optimizer at each recorded step, float64 on the CPU.

        The quantities are:

        {quantities}

        Args:
            name: of a quantity; or of a state entry or of watched weights, as ``0.weight[0,3]``, where they
                were asked for; ``state_lr`` of a state entry named as a quantity.
            optimizer: the optimizer's name; the only one if not given.

        Returns:
            Shape (rows,), or (rows, size) of a quantity that is several numbers; NaN where there is no value.

        Raises:
            UsageError: there is no such optimizer or quantity.
        """
        found = self._optimizer(optimizer)
        columns = found.named_columns()
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
        return self._written("json")

    def to_csv(self) -> str:
        """Return the training as CSV, as ``optitrace run -o FILE.csv`` writes it."""
        return self._written("csv")

    def __repr__(self) -> str:
        return f"<Training: {first_of(self.optimizers, MOST_NAMED) or 'no step yet'}>"

    @property
    def _presenter(self) -> TrainingPresenter:
        record = self.record
        return TrainingPresenter(record, TrainingFindings(diagnose(record), self.verified))

    def _optimizer(self, name: str | None) -> training.OptimizerTrace:
        found = [o for o in self.record.optimizers if name in (None, o.name)]
        if len(found) == 1:
            return found[0]
        there = first_of([repr(name) for name in self.optimizers], MOST_NAMED)
        if not there:
            raise UsageError("no optimizer has taken a step; call its step() while it is watched.")
        asked = f"there is no optimizer {name!r}" if name else "there are several optimizers"
        raise UsageError(f"{asked}; name one of {there}.")


class Watching:
    """What watches the optimizers of a `Training`."""

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        models: Sequence[Module],
        config: RecordingConfig,
        *,
        verify: bool,
    ) -> None:
        """Prepare watching."""
        from optitrace.analysis.training.rule_watch import RuleWatch
        from optitrace.monitoring.monitor import Monitor
        from optitrace.monitoring.torch_hooks import TorchHooks

        self._rules = RuleWatch()
        make_probe = self._rules.make_probe if verify else None
        self._watcher = Monitor(config, only=optimizers, models=models, make_probe=make_probe)
        self._interception = TorchHooks(self._watcher)
        self._outcome = Outcome()
        self._is_over = False

    def begin(self) -> None:
        """Start watching."""
        self._is_over = False
        self._deferring = deferring_handlers()
        self._deferring.__enter__()
        self._interception.begin()

    def end(self, error: BaseException | None) -> None:
        """Stop watching, after the loop has ended or raised an error.

        Raises:
            UsageError: a pattern matches no weight.
        """
        self._interception.end()
        self._deferring.__exit__(None, None, None)
        self._is_over = True
        if isinstance(error, KeyboardInterrupt):
            self._outcome = Outcome(Status.INTERRUPTED, self._watcher.step)
        elif error is not None:
            self._outcome = Outcome(Status.FAILED, self._watcher.step, reason=reason(error))
        if error is None and (complaints := self._watcher.complaints()):
            raise UsageError(complaints[0])

    @property
    def record(self) -> training.TrainingRecord:
        """The training as recorded so far.

        Raises:
            Exception: the error that stopped watching early.
        """
        if self._watcher.failure is not None:
            raise self._watcher.failure
        return self._watcher.training(training.Program(), self._outcome)

    @property
    def verified(self) -> tuple[RuleAgreement, ...]:
        """The agreement of each optimizer with its rule so far."""
        return self._rules.agreements(self._watcher.names())

    def kept(self) -> Kept:
        """Return the record of the training.

        Raises:
            UsageError: it has not ended.
        """
        if not self._is_over:
            raise UsageError(
                "a training that is still watched cannot be copied or pickled; do so after its with block."
            )
        return Kept(self.record, self.verified)


def watch(
    *optimizers: Optimizer,
    model: Module | Sequence[Module] = (),
    every: int = 1,
    params: bool = False,
    state: bool = False,
    values: str | Sequence[str] = (),
    verify: bool = False,
) -> Training:
    """Watch optimizers while they train: ``with optitrace.watch(optimizer, model=model) as training: …``.

    >>> import torch
    >>> weights = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = torch.optim.SGD([weights], lr=0.1)
    >>> with watch(optimizer) as training:
    ...     for _ in range(2):
    ...         optimizer.zero_grad()
    ...         weights.square().sum().backward()
    ...         optimizer.step()
    >>> training.column("loss").tolist()
    [25.0, 16.0]

    Args:
        *optimizers: the optimizers.
        model: the model or models that give the parameters their names; all modules that there are if none.
        every: record the first and every K-th step.
        params: also record each parameter separately.
        state: record the norms of the optimizers' state.
        values: which weights to record themselves, a pattern or several: ``0.weight[0,3]``, ``*.bias``.
        verify: recompute each step from the published rule, on a sample of the weights.

    Returns:
        The training, a context manager; readable during the training and afterwards.

    Raises:
        UsageError: nothing is given to watch, or a number or a pattern is wrong.
    """
    from torch.nn import Module

    _check_optimizers(optimizers)
    models = [model] if isinstance(model, Module) else list(model)
    patterns = tuple(map(check_pattern, [values] if isinstance(values, str) else values))
    config = RecordingConfig(every, parameters=params, state=state, patterns=patterns)
    display = Display(state=state, by_parameter=params)
    return Training(Watching(optimizers, models, config, verify=verify), display)


def _check_optimizers(given: Sequence[object]) -> None:
    from torch.optim import Optimizer

    if not given:
        raise UsageError("there is nothing to watch; give watch() an optimizer.")
    for one in given:
        if not isinstance(one, Optimizer):
            raise UsageError(
                f"watch() was given {type(one).__name__}, which is not an optimizer; "
                "write watch(optimizer, model=model)."
            )
