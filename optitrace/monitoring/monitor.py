"""The monitor: receives the events of all optimizers of a program and builds its training record."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from threading import get_ident
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn import Module
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from optitrace.errors import printable
from optitrace.monitoring.backward_tracker import Backward, BackwardTracker
from optitrace.monitoring.checkpoints import CheckpointTracker
from optitrace.monitoring.clipping import ClippingCall
from optitrace.monitoring.fault_isolation import Failure, harmless, harmless_to_others, is_user_class
from optitrace.monitoring.gradient_provenance import GradientProvenance
from optitrace.monitoring.norms import WeightNorms
from optitrace.monitoring.optimizer_names import assigned_name, renamed, told_apart
from optitrace.monitoring.optimizer_registry import OptimizerRegistry
from optitrace.monitoring.parameters import parameters_of
from optitrace.monitoring.recording_config import RecordingConfig, complaints_about
from optitrace.monitoring.segment_recorder import MakeProbe
from optitrace.monitoring.torch_internals import is_nested_step
from optitrace.monitoring.tracked_optimizer import TrackedOptimizer
from optitrace.records.trace import Outcome, Status, Versions
from optitrace.records.training import OptimizerTrace, Program, TrainingRecord
from optitrace.version import __version__

StepArguments = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional arguments of a step, the optimizer first, and those by name."""


class Monitor:
    """Monitors optimizers: `TorchHooks` calls its methods when something happens in the program.

    Attributes:
        step: how many steps all optimizers together took.
        failure: the error that ended the monitoring before the program ended; None if none did.
        is_blind: whether nothing can be observed with this torch.
    """

    def __init__(
        self,
        config: RecordingConfig,
        *,
        only: Iterable[Optimizer] | None = None,
        models: Iterable[Module] = (),
        keeps_weight_norms: bool = False,
        make_probe: MakeProbe | None = None,
        when_recorded: Callable[[Monitor], None] | None = None,
    ) -> None:
        """Begin.

        Args:
            config: what to record.
            only: the optimizers to monitor; all that take a step if not given.
            models: where to find the names of parameters; among all modules that there are if none is given.
            keeps_weight_norms: whether to keep the norms of each parameter's weights, for `weight_norms`.
            make_probe: makes what else looks at the steps of an optimizer, before its first; if given.
            when_recorded: called after each recorded step, if given.
        """
        self.step = 0
        self.failure: BaseException | None = None
        self.is_blind = False
        only = None if only is None else list(only)
        self._config = config
        self._when_recorded = when_recorded
        self._backwards = BackwardTracker()
        self._optimizers = OptimizerRegistry(
            config,
            self._backwards,
            only=only,
            models=models,
            keeps_weight_norms=keeps_weight_norms,
            make_probe=make_probe,
        )
        self._checkpoints = CheckpointTracker()
        self._unobserved: dict[str, None] = {}
        self._taken_before_scaler = 0
        for optimizer in only or ():
            self._optimizers.add(optimizer)

    # events

    def unobserved(self, loss: str, *, is_blind: bool = False) -> None:
        """Record that something, or everything, cannot be observed with this torch: a sentence says why."""
        self._unobserved[loss] = None
        self.is_blind = self.is_blind or is_blind

    @harmless
    def module_made(self, module: Module) -> None:
        """Register a module that is given a parameter or another module, or came to be as a copy."""
        self._optimizers.modules.add(module)

    @harmless_to_others
    def made(self, optimizer: Optimizer) -> None:
        """Register an optimizer that the program is constructing."""
        if tracked := self._optimizers.add(optimizer):
            tracked.variable = assigned_name()

    @harmless_to_others
    def loaded(self, optimizer: Optimizer) -> None:
        """Record that the program has loaded the state of an optimizer."""
        if tracked := self._optimizers.add(optimizer):
            tracked.loaded(optimizer)
            self._checkpoints.optimizer_loaded()

    @harmless
    def checkpoint_read(self, file: Any, content: Any) -> None:
        """Record what a checkpoint holds that the program has read."""
        self._checkpoints.read(file, content)

    @harmless
    def weights_loaded(self) -> None:
        """Record that the program has loaded the weights of a module."""
        self._checkpoints.weights_loaded()

    @harmless
    def scheduler_loaded(self, scheduler: LRScheduler) -> None:
        """Record that the program has loaded the state of a scheduler."""
        self._checkpoints.scheduler_loaded()
        if tracked := self._optimizers.scheduled(scheduler):
            tracked.learning_rates.scheduler_loaded()

    @harmless_to_others
    def before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> StepArguments | None:
        """Record what a step begins with; return other arguments for it if it has a closure."""
        recorder = self._optimizers.recorder(optimizer)
        tracked = self._optimizers.get(optimizer)
        if recorder is None or tracked is None:
            return None
        if recorder.is_in_step and is_nested_step(optimizer):
            tracked.nested += 1
            return None
        tracked.nested = 0
        if not recorder.has_stepped and not recorder.taken and not optimizer.state:
            tracked.begins_without(self._checkpoints.unloaded(recorder.members.parameters))
        tracked.threads.add(get_ident())
        epoch = self._checkpoints.scheduler_epoch
        tracked.learning_rates.before_step(optimizer, recorder.taken + 1, saved_epoch=epoch)
        if self._backwards.underway is not None:
            recorder.provenance.after_backward(self._backwards.underway)
        closure = next(filter(callable, (*args[1:], *kwargs.values())), None)
        recorder.before_step(optimizer, has_closure=closure is not None)
        if closure is None:
            return None

        def observed() -> Any:
            loss = closure()
            self._after_closure(optimizer, loss)
            return loss

        positional = tuple(observed if argument is closure else argument for argument in args)
        return positional, {name: observed if value is closure else value for name, value in kwargs.items()}

    @harmless_to_others
    def after_step(self, optimizer: Optimizer) -> None:
        """Record what a step made."""
        tracked = self._optimizers.get(optimizer)
        if tracked is not None and tracked.nested:
            tracked.nested -= 1
            return
        if tracked is None or (recorder := tracked.recorder) is None or not recorder.is_in_step:
            return
        self._count(tracked)
        recorder.after_step(optimizer)
        tracked.learning_rates.after_step(optimizer, tracked.taken)
        self._optimizers.stepped(optimizer, tracked, recorder.rows if recorder.is_recorded else 0)
        if self._when_recorded is not None and recorder.is_recorded:
            self._when_recorded(self)

    @harmless
    def before_backward(self, tensors: Tensor | Sequence[Tensor]) -> Backward:
        """Record which gradients were cleared before a backward of these tensors; return the backward."""
        self._for_each_provenance(self._optimizers.in_this_thread(), GradientProvenance.before_backward)
        return self._backwards.begin(tensors)

    @harmless
    def after_backward(self, backward: Backward, is_done: bool) -> None:
        """Record the loss of a backward that is done, or has failed, for those whose gradients changed."""
        self._backwards.end(backward, is_done=is_done)
        if is_done:
            mine = self._optimizers.in_this_thread()
            self._for_each_provenance(mine, GradientProvenance.after_backward, backward)

    @harmless
    def zeroed(self, owner: Optimizer | Module) -> None:
        """Record that `zero_grad` of an optimizer or a module was called."""

        def parameters() -> Iterable[Tensor]:
            return parameters_of(owner) if isinstance(owner, Optimizer) else owner.parameters()

        if isinstance(owner, Optimizer) and (tracked := self._optimizers.get(owner)) is not None:
            tracked.threads.add(get_ident())
        self._for_each_provenance(self._optimizers.alive(), GradientProvenance.zeroed, owner, parameters)

    @harmless
    def scaled(self, scaler: GradScaler, outputs: Any, scaled: Any) -> None:
        """Record that a GradScaler has scaled outputs."""
        self._backwards.scaled(scaler, outputs, scaled)

    @harmless_to_others
    def unscaled(self, optimizer: Optimizer) -> None:
        """Record that a GradScaler has unscaled an optimizer's gradients."""
        if tracked := self._optimizers.add(optimizer):
            tracked.provenance.unscaled()

    @harmless_to_others
    def before_scaler_step(self, optimizer: Optimizer) -> None:
        """Record that a GradScaler is about to step an optimizer, or to leave the step out."""
        if recorder := self._optimizers.recorder(optimizer):
            recorder.is_in_scaler = True
            self._taken_before_scaler = recorder.taken

    @harmless_to_others
    def after_scaler_step(self, optimizer: Optimizer, is_done: bool) -> None:
        """Record a skipped step if GradScaler did not call step()."""
        if recorder := self._optimizers.recorder(optimizer):
            recorder.is_in_scaler = False
            if is_done and recorder.taken == self._taken_before_scaler:
                if tracked := self._optimizers.get(optimizer):
                    self._count(tracked)
                recorder.skip(optimizer)

    @harmless
    def before_clipping(self, parameters: Sequence[Tensor], limit: float) -> ClippingCall:
        """Record which gradients are about to be clipped; return the clipping."""
        keys = set(map(id, parameters))
        optimizers = self._optimizers.owning(keys)
        call = ClippingCall(limit, optimizers=[weakref.ref(optimizer) for optimizer in optimizers])
        for optimizer in optimizers:
            self._before_clipping(optimizer, call, keys)
        return call

    @harmless
    def after_clipping(self, call: ClippingCall, measured: Tensor) -> None:
        """Record the norm or largest value before a clipping, which was cut if it was above the limit."""
        for optimizer in call.done(measured):
            self._after_clipping(optimizer)

    @harmless
    def scheduler_made(self, scheduler: LRScheduler) -> None:
        """Record a scheduler that was constructed."""
        if tracked := self._optimizers.scheduled(scheduler):
            tracked.learning_rates.scheduler_made(scheduler, scheduler.optimizer)

    @harmless
    def scheduler_stepped(self, scheduler: LRScheduler) -> None:
        """Count a step of a scheduler by the program."""
        if tracked := self._optimizers.scheduled(scheduler):
            tracked.learning_rates.scheduler_stepped(scheduler, scheduler.optimizer)

    def give_up(self, optimizer: Optimizer, error: BaseException) -> None:
        """Monitor an optimizer no longer, as that has failed."""
        self._optimizers.give_up(optimizer, error)

    # results

    @property
    def failures(self) -> list[Failure]:
        """What ended the monitoring of an optimizer, or all monitoring, before the program ended."""
        of_all = [] if self.failure is None else [Failure("", self.step, self.failure)]
        names = self.names()
        failures = self._optimizers.failures
        return [*of_all, *(replace(f, optimizer=renamed(f.optimizer, names)) for f in failures)]

    def training(
        self, program: Program, outcome: Outcome, *, rank: int = 0, world_size: int = 1
    ) -> TrainingRecord:
        """Return what was seen so far; what was not watched to its end has failed, though it completed."""
        registry = self._optimizers
        traces = registry.collect(lambda tracked: tracked.settled_traces(registry.also_in(tracked)))
        registry.look_for_unowned()
        if self.failures and outcome.status is Status.COMPLETED:
            outcome = Outcome(Status.FAILED, self.step, reason=self.failures[0].clause)
        return self._record(program, outcome, traces, rank, world_size)

    def training_so_far(self, program: Program, *, rank: int = 0, world_size: int = 1) -> TrainingRecord:
        """Return what was seen so far, while the program runs; what is recorded later does not depend on it.

        Raises:
            Exception: a thread of the program is in the middle of a step; later it may work.
        """
        registry = self._optimizers
        traces = [trace for one in registry for trace in one.traces(registry.also_in(one))]
        return self._record(program, Outcome(Status.RUNNING, self.step), traces, rank, world_size)

    def names(self) -> Mapping[str, str]:
        """Return what each optimizer is called in the end, by the class and number that it has until then."""
        return told_apart([(one.name, one.variable, one.parameters) for one in self._optimizers])

    def weight_norms(self) -> list[WeightNorms]:
        """Return the norms of the weights so far, as far as they are kept, in the order of `training`."""
        names = self.names()
        found = self._optimizers.collect(TrackedOptimizer.weight_norms)
        return [replace(norms, optimizer=renamed(norms.optimizer, names)) for norms in found]

    def numberless(self) -> tuple[str, ...]:
        """Return the classes of optimizers that had no parameter with numbers: all on ``meta``, or lazy."""
        return tuple(self._optimizers.numberless)

    def complaints(self) -> list[str]:
        """Return a sentence for each pattern that named nothing, or no place that there is."""
        selections = [selection for tracked in self._optimizers for selection in tracked.selections]
        return complaints_about(self._config.patterns, selections)

    def unmeasured(self) -> list[str]:
        """Return a sentence for each entry of a state that cannot be measured though it is wanted."""
        return [
            f"{key} in the state of {tracked.name} cannot be measured and is left out: {why}."
            for tracked in self._optimizers
            for key, why in tracked.unmeasured.items()
        ]

    def _record(
        self,
        program: Program,
        outcome: Outcome,
        traces: Sequence[OptimizerTrace],
        rank: int,
        world_size: int,
    ) -> TrainingRecord:
        names, registry = self.names(), self._optimizers
        return TrainingRecord(
            program=replace(program, arguments=tuple(map(printable, program.arguments))),
            versions=Versions(optitrace=__version__, torch=torch.__version__),
            outcome=outcome,
            optimizers=tuple(_with_names(trace, names) for trace in traces),
            idle=tuple(names[idle] for idle in registry.idle()),
            unowned=tuple(
                replace(one, optimizer=renamed(one.optimizer, names)) for one in registry.unowned()
            ),
            unobserved=tuple(self._unobserved),
            rank=rank,
            world_size=world_size,
        )

    @harmless_to_others
    def _after_closure(self, optimizer: Optimizer, loss: Any) -> None:
        tracked = self._optimizers.get(optimizer)
        if tracked is not None and tracked.recorder is not None:
            tracked.recorder.after_closure(optimizer, loss)

    @harmless_to_others
    def _before_clipping(self, optimizer: Optimizer, call: ClippingCall, parameters: set[int]) -> None:
        if recorder := self._optimizers.recorder(optimizer):
            recorder.before_clipping(call, parameters, self._backwards)

    @harmless_to_others
    def _after_clipping(self, optimizer: Optimizer) -> None:
        if recorder := self._optimizers.recorder(optimizer):
            recorder.provenance.after_clipping()

    def _for_each_provenance(
        self, optimizers: Sequence[TrackedOptimizer], tell: Callable[..., None], *args: Any
    ) -> None:
        """Tell the gradient provenance of optimizers; an error ends the monitoring of that one alone."""
        for tracked in optimizers:
            try:
                tell(tracked.provenance, *args)
            except BaseException as error:
                if not is_user_class(error):
                    raise
                self._optimizers.lose(tracked, error)

    def _count(self, tracked: TrackedOptimizer) -> None:
        """Count a step of an optimizer among those of all."""
        self.step += 1
        self._backwards.stepped()
        tracked.count(self.step)


def _with_names(trace: OptimizerTrace, names: Mapping[str, str]) -> OptimizerTrace:
    """Return a trace in which optimizers have the names by which they are told apart."""
    parameters = tuple(replace(p, also_in=renamed(p.also_in, names)) for p in trace.parameters)
    shared = trace.shares_state
    return replace(
        trace,
        name=renamed(trace.name, names),
        shares_state=shared and replace(shared, optimizer=renamed(shared.optimizer, names)),
        parameters=parameters,
        follows=renamed(trace.follows, names),
        takes_over=renamed(trace.takes_over, names),
    )
