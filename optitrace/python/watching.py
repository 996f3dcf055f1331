"""Watching a training loop of one's own, from within: in a script or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optitrace.analysis.training.findings import RuleAgreement
from optitrace.errors import UsageError
from optitrace.experiment.own_module import reason
from optitrace.monitoring.fault_isolation import deferring_handlers
from optitrace.monitoring.recording_config import RecordingConfig, check_pattern
from optitrace.python.training import Kept, Training
from optitrace.records import training
from optitrace.records.trace import Outcome, Status
from optitrace.views.grid import Look

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer


class Watching:
    """What watches the optimizers of a `Training`."""

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        models: Sequence[Module],
        wish: RecordingConfig,
        *,
        verify: bool,
    ) -> None:
        """Watch nothing yet."""
        from optitrace.analysis.training.rule_watch import RuleWatch
        from optitrace.monitoring.monitor import Monitor
        from optitrace.monitoring.torch_hooks import TorchHooks

        self._rules = RuleWatch()
        make_probe = self._rules.make_probe if verify else None
        self._watcher = Monitor(wish, only=optimizers, models=models, make_probe=make_probe)
        self._interception = TorchHooks(self._watcher)
        self._outcome = Outcome()
        self._is_over = False

    def begin(self) -> None:
        """Begin to watch."""
        self._is_over = False
        self._deferring = deferring_handlers()
        self._deferring.__enter__()
        self._interception.begin()

    def end(self, error: BaseException | None) -> None:
        """Watch no longer, as the loop is done, or has raised an error.

        Raises:
            UsageError: a pattern of the wish named nothing.
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
    def record(self) -> training.Training:
        """What was seen so far.

        Raises:
            Exception: whatever ended the watching before its time.
        """
        if self._watcher.failure is not None:
            raise self._watcher.failure
        return self._watcher.training(training.Program(), self._outcome)

    @property
    def verified(self) -> tuple[RuleAgreement, ...]:
        """How each optimizer stands to its rule so far."""
        return self._rules.agreements(self._watcher.names())

    def kept(self) -> Kept:
        """Return what stays of the training.

        Raises:
            UsageError: it is not over.
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
        params: record every parameter by itself, too.
        state: record the norms of the optimizers' state.
        values: which weights to record themselves, a pattern or several: ``0.weight[0,3]``, ``*.bias``.
        verify: recompute each step from the published rule, on a sample of the weights.

    Returns:
        What is seen, to be entered: readable while it grows, and after.

    Raises:
        UsageError: nothing is given to watch, or a number or a pattern is wrong.
    """
    from torch.nn import Module

    _check_optimizers(optimizers)
    models = [model] if isinstance(model, Module) else list(model)
    patterns = tuple(map(check_pattern, [values] if isinstance(values, str) else values))
    wish = RecordingConfig(every, parameters=params, state=state, patterns=patterns)
    look = Look(state=state, by_parameter=params)
    return Training(Watching(optimizers, models, wish, verify=verify), look)


def _check_optimizers(given: Sequence[object]) -> None:
    from torch.optim import Optimizer

    if not given:
        raise UsageError("there is nothing to watch; give watch() an optimizer.")
    for one in given:
        if not isinstance(one, Optimizer):
            raise UsageError(
                f"watch() was given {type(one).__name__}, which is no optimizer; "
                "write watch(optimizer, model=model)."
            )
