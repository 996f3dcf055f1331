"""The tracer, which alone steps torch optimizers."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from math import isfinite, nan
from pathlib import Path

import torch
from torch import Tensor

from optitrace.errors import DeviceError, UsageError, integer, ran_out_of_memory
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.memory import check_memory
from optitrace.experiment.objective import LossFunction
from optitrace.records.trace import Outcome, Status, TraceRecord, Versions
from optitrace.rules.rule import Needs
from optitrace.tracing.devices import open_device
from optitrace.tracing.gradient_protocols import clipping, protocol
from optitrace.tracing.recorder import Recorder
from optitrace.tracing.scheduling import scheduled_momentum, scheduling
from optitrace.tracing.stepping import UserClassError, make_optimizer, plain_step
from optitrace.version import __version__

TORCH = Path(torch.__file__).parent
"""The folder of torch's code."""


def trace(experiment: Experiment, *, every: int = 1, stop: Callable[[], bool] = lambda: False) -> TraceRecord:
    """Run an experiment with the real torch optimizer and record it.

    Args:
        experiment: what to run.
        every: keep the steps that are multiples of this, the start and the last step.
        stop: called before each step; once it returns true, the run ends there, marked interrupted.

    Raises:
        UsageError: torch refuses the settings, or cannot compute them in this dtype; or a class or a
            custom function fails in the first step. A later failure is an outcome.
        DeviceError: the device is not there, or has no memory even for the start; or this machine has none
            for the record of all steps.
    """
    integer("every", every, least=1)
    if experiment.until is None:
        _check_record(experiment, every)
    try:
        with torch.inference_mode(False):  # in it, nothing could be differentiated
            return _trace(experiment, experiment.entry.needs, every, stop)
    except UserClassError as failure:
        if not failure.need:
            raise
        try:
            with torch.inference_mode(False):
                return _trace(experiment, failure.need, every, stop)
        except UsageError:
            raise failure from None


def reaching(experiment: Experiment, loss: LossFunction, weights: Tensor) -> Callable[[], bool]:
    """Return the condition that the weights have reached the experiment's target.

    It looks at the loss, at its gradient (without noise or clipping) or at the distance from the
    nearest minimum, whatever gradient the steps use. On an accelerator the answer waits for the device.
    """
    target = experiment.until
    if target is None:
        return lambda: False
    minima = torch.tensor(experiment.objective.minima, dtype=torch.float64)

    def gradient_norm() -> float:
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(weights), weights)
        return float(gradient.norm())

    def distance() -> float:
        here = weights.detach().reshape(1, -1).to(device="cpu", dtype=torch.float64)
        return float((minima - here).norm(dim=1).min())

    measures = {"loss": lambda: loss(weights).item(), "gradient": gradient_norm, "distance": distance}
    measure, limit = measures[target.quantity], target.limit
    return lambda: measure() < limit


def _check_record(experiment: Experiment, every: int) -> None:
    """Refuse a run whose steps cannot all be kept: the loss, lr, gradient and weights of each.

    Raises:
        DeviceError: this machine has not the memory for it.
    """
    rows, coordinates = experiment.steps // every, len(experiment.start)
    check_memory(
        f"a trace of {rows:,} steps of {coordinates:,} coordinates",
        8 * rows * (3 + 2 * coordinates),
        "take fewer steps, or keep fewer of them with --every",
    )


def _trace(experiment: Experiment, needs: Needs, every: int, stop: Callable[[], bool]) -> TraceRecord:
    """Run an experiment with an optimizer that is given what it needs."""
    try:
        run = _Run(experiment, needs)
        recorder = Recorder(run.weights.detach(), every=every)
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        raise DeviceError(
            f"{experiment.device} ran out of memory before the first step; use fewer coordinates."
        ) from error
    ended = Outcome()
    try:
        with torch.no_grad():
            while not run.has_reached_target():
                if recorder.taken == experiment.steps:
                    if experiment.until is not None:
                        ended = Outcome(Status.TARGET_NOT_REACHED, recorder.taken, str(experiment.until))
                    break
                if stop():
                    ended = Outcome(Status.INTERRUPTED, recorder.taken)
                    break
                run.step(recorder)
            else:
                ended = Outcome(Status.TARGET_REACHED, recorder.taken, str(experiment.until))
            final_loss = run.loss(run.weights).item()
    except (Exception, SystemExit) as error:
        if ran_out_of_memory(error):
            ended, final_loss = Outcome(Status.OUT_OF_MEMORY), nan
            del run  # makes room for what was recorded
        elif (told := _told(run, recorder.taken, error)) is None:
            raise
        elif not recorder.taken:
            raise told from error
        else:
            ended = Outcome(Status.FAILED, recorder.taken, reason=str(told))
            final_loss = run.last_known_loss()
    taken = recorder.taken
    steps, columns, state = recorder.finish()
    if ended.status is Status.OUT_OF_MEMORY or recorder.taken < taken:
        ended, final_loss = Outcome(Status.OUT_OF_MEMORY, recorder.taken), nan
    took_all = ended.status in (Status.COMPLETED, Status.TARGET_NOT_REACHED)
    if took_all and recorder.non_finite:
        ended = recorder.non_finite
    elif took_all and not isfinite(final_loss):
        ended = Outcome(Status.NON_FINITE, recorder.taken, "final_loss")
    return TraceRecord(
        experiment=experiment,
        versions=Versions(optitrace=__version__, torch=torch.__version__),
        outcome=ended,
        steps=steps,
        columns=columns,
        state=state,
        final_loss=final_loss,
    )


class _Run:
    """Weights, a loss, and an optimizer that moves the weights; takes one step at a time."""

    def __init__(self, experiment: Experiment, needs: Needs) -> None:
        self.experiment = experiment
        dtype = getattr(torch, experiment.dtype)
        device = open_device(experiment.device)
        start = torch.tensor(experiment.start, dtype=dtype, device=device)
        self.weights = (start.unsqueeze(0) if needs == "matrix" else start).requires_grad_()
        self.loss = experiment.objective.loss(dtype, device)
        self.has_reached_target = reaching(experiment, self.loss, self.weights)
        self._evaluate = protocol(experiment, self.loss, self.weights, create_graph=needs == "create_graph")
        self._clip = clipping(experiment, self.weights)
        self._optimizer = make_optimizer(experiment, self.weights)
        self._group = self._optimizer.param_groups[0]
        self._schedule = experiment.schedule
        self._advance = scheduling(self._schedule, self._optimizer) if self._schedule else None
        if experiment.custom is None:
            self._move = plain_step(self._optimizer)
        else:  # with gradients on, as in a training loop, since it may differentiate
            self._move = torch.enable_grad()(self._optimizer.step)
        self.step = {
            "": self._step,
            "matrix": self._step,
            "create_graph": self._step,
            "closure": self._step_with_closure,
            "sparse gradient": self._step_sparsely,
        }[needs]

    def last_known_loss(self) -> float:
        """Return the loss at the weights as they are, NaN if even that cannot be computed."""
        try:
            with torch.no_grad():
                return self.loss(self.weights).item()
        except Exception:  # whatever has just failed may fail again
            return float("nan")

    def _step(self, recorder: Recorder) -> None:
        loss = self._evaluate()
        self._note(recorder, loss)
        self._move()
        self._end(recorder, loss)

    def _note(self, recorder: Recorder, loss: Tensor) -> None:
        """Record what the step uses, once the gradient is what the step will see."""
        if self._clip is not None:
            recorder.beside("unclipped_gradient", self._clip())
        if self._schedule and (momentum := scheduled_momentum(self._schedule, self._group)) is not None:
            recorder.beside("momentum", momentum)
        recorder.before(loss, _gradient(self.weights), self._group.get("lr"))

    def _end(self, recorder: Recorder, loss: Tensor) -> None:
        """Record what the step left, and move the learning rate."""
        if next(iter(self._group["params"]), None) is not self.weights:
            raise UsageError("the class replaces the tensors of the weights; it must update them in place.")
        recorder.after(self.weights, self._optimizer.state[self.weights])
        if self._advance is not None:
            self._advance(loss)

    def _step_sparsely(self, recorder: Recorder) -> None:
        """Take a step with the gradient in sparse layout, where exact zeros are left out."""
        loss = self._evaluate()
        self._note(recorder, loss)
        dense = _gradient(self.weights)
        self.weights.grad = dense.to_sparse()
        self._move()
        self.weights.grad = dense
        self._end(recorder, loss)

    def _step_with_closure(self, recorder: Recorder) -> None:
        """Take a step that evaluates the loss as often as it likes; its first evaluation is recorded."""
        losses: list[Tensor] = []

        def closure() -> Tensor:
            loss = self._evaluate()
            if not losses:
                losses.append(loss.detach())
                self._note(recorder, losses[0])
            elif self._clip is not None:
                self._clip()
            return loss

        self._move(closure)
        self._end(recorder, losses[0])


def _gradient(weights: Tensor) -> Tensor:
    if weights.grad is None:
        raise UsageError(
            "the loss does not depend on the weights; compute it from them with torch functions."
        )
    return weights.grad


def _told(run: _Run, taken: int, error: BaseException) -> UsageError | None:
    """Return an error as it is reported; None for a fault of this program."""
    if isinstance(error, UsageError):
        return error
    if run.experiment.custom is not None:
        return UserClassError(run.experiment.optimizer, error, taken + 1)
    # torch's compiled code has no frame of its own
    refuses = not taken and isinstance(error, RuntimeError | AssertionError)
    if refuses or isinstance(error, ArithmeticError) or _was_raised_in_torch(error):
        return _refusal(run, error)
    return None


def _was_raised_in_torch(error: BaseException) -> bool:
    raised = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(raised).is_relative_to(TORCH)


def _refusal(run: _Run, error: BaseException) -> UsageError:
    """Return the sentence for what torch itself could not do."""
    reason = str(error.args[-1] if error.args else error).strip().partition("\n")[0].rstrip(".")
    if not isinstance(error, RuntimeError | AssertionError | ArithmeticError):
        reason = f"{type(error).__name__}: {reason}"
    loss, experiment = run.last_known_loss(), run.experiment
    cause = "" if isfinite(loss) else f"; the loss is {loss} there"
    return UsageError(
        f"torch cannot take a step of {experiment.optimizer} in {experiment.dtype} on {experiment.device} "
        f"({experiment.implementation}): {reason}{cause}."
    )
