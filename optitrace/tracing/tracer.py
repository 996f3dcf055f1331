"""The tracer: the only place that steps a torch optimizer."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import torch
from torch import Tensor

from optitrace.errors import DeviceError, UsageError
from optitrace.experiment.experiment import Experiment
from optitrace.tracing.devices import open_device
from optitrace.tracing.gradients import protocol
from optitrace.tracing.recorder import Recorder
from optitrace.tracing.stepping import make_optimizer, plain_step
from optitrace.tracing.trace import Outcome, Status, Trace, Versions
from optitrace.version import __version__

_OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)


def trace(experiment: Experiment, *, every: int = 1, stop: Callable[[], bool] = lambda: False) -> Trace:
    """Run an experiment with the real torch optimizer and record it.

    Args:
        experiment: what to run.
        every: keep the steps that are multiples of this, the start and the last step.
        stop: asked before each step; once it says yes, the run ends there, marked interrupted.

    Raises:
        UsageError: torch refuses the settings, or cannot compute them in this dtype.
        DeviceError: the device is not there, or has no memory even for the start.
    """
    if every < 1:
        raise UsageError(f"every is {every}; it must be a whole number from 1 on.")
    try:
        run = _Run(experiment)
        recorder = Recorder(run.weights.detach(), every=every)
    except _OUT_OF_MEMORY as error:
        raise DeviceError(
            f"{experiment.device} ran out of memory before the first step; use fewer coordinates."
        ) from error
    ended = Outcome()
    try:
        with torch.no_grad():
            while recorder.taken < experiment.steps:
                if stop():
                    ended = Outcome(Status.INTERRUPTED, recorder.taken)
                    break
                run.step(recorder)
            final_loss = run.loss(run.weights).item()
    except _OUT_OF_MEMORY:
        ended = Outcome(Status.OUT_OF_MEMORY, recorder.taken)
        final_loss = float("nan")
    except (RuntimeError, AssertionError) as error:
        if recorder.taken:
            raise
        raise _refusal(experiment, error) from error
    steps, columns, state = recorder.finish()
    if ended.status is Status.COMPLETED and recorder.non_finite:
        ended = recorder.non_finite
    elif ended.status is Status.COMPLETED and not isfinite(final_loss):
        ended = Outcome(Status.NON_FINITE, recorder.taken, "final_loss")
    return Trace(
        experiment=experiment,
        versions=Versions(optitrace=__version__, torch=torch.__version__),
        outcome=ended,
        steps=steps,
        **columns,
        state=state,
        final_loss=final_loss,
    )


class _Run:
    """Weights, a loss, and an optimizer that moves the weights; takes one step at a time."""

    def __init__(self, experiment: Experiment) -> None:
        entry = experiment.entry
        dtype = getattr(torch, experiment.dtype)
        device = open_device(experiment.device)
        start = torch.tensor(experiment.start, dtype=dtype, device=device)
        self.weights = (start.unsqueeze(0) if entry.needs == "matrix" else start).requires_grad_()
        self.loss = experiment.objective.loss(dtype, device)
        self._evaluate = protocol(experiment.gradient, self.loss, self.weights)
        self._optimizer = make_optimizer(experiment, self.weights)
        self._group = self._optimizer.param_groups[0]
        self._move = plain_step(self._optimizer)
        self.step = {
            "": self._step,
            "matrix": self._step,
            "closure": self._step_with_closure,
            "sparse gradient": self._step_sparsely,
        }[entry.needs]

    def _step(self, recorder: Recorder) -> None:
        loss = self._evaluate()
        recorder.before(loss, _gradient(self.weights), self._group["lr"])
        self._move()
        recorder.after(self.weights, self._optimizer.state[self.weights])

    def _step_sparsely(self, recorder: Recorder) -> None:
        """Take a step with the gradient in sparse layout, where exact zeros are left out."""
        loss = self._evaluate()
        dense = _gradient(self.weights)
        recorder.before(loss, dense, self._group["lr"])
        self.weights.grad = dense.to_sparse()
        self._move()
        self.weights.grad = dense
        recorder.after(self.weights, self._optimizer.state[self.weights])

    def _step_with_closure(self, recorder: Recorder) -> None:
        """Take a step that evaluates the loss as often as it likes; its first evaluation is recorded."""
        evaluations = 0

        def closure() -> Tensor:
            nonlocal evaluations
            loss = self._evaluate()
            if evaluations == 0:
                recorder.before(loss.detach(), _gradient(self.weights), self._group["lr"])
            evaluations += 1
            return loss

        self._move(closure)
        recorder.after(self.weights, self._optimizer.state[self.weights])


def _gradient(weights: Tensor) -> Tensor:
    assert weights.grad is not None
    return weights.grad


def _refusal(experiment: Experiment, error: Exception) -> UsageError:
    """Return the sentence for what torch itself could not do at the first step."""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return UsageError(
        f"torch cannot take a step of {experiment.optimizer} in {experiment.dtype} on {experiment.device} "
        f"({experiment.implementation}): {reason}."
    )
