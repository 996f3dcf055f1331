"""The monitor: receives the events of all optimizers of a program and builds its training record."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn import Module
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from optitrace.errors import printable
from optitrace.monitoring.assigned_name import assigned_name
from optitrace.monitoring.backward_tracker import Backward, BackwardTracker
from optitrace.monitoring.clipping_tracker import ClippingCall
from optitrace.monitoring.fault_isolation import Failure, harmless, harmless_to_others, is_own
from optitrace.monitoring.gradient_provenance import GradientProvenance
from optitrace.monitoring.listener import StepArguments
from optitrace.monitoring.optimizer_names import renamed
from optitrace.monitoring.optimizer_registry import MakeProbe, OptimizerRegistry
from optitrace.monitoring.param_groups import class_name, parameters_of
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.tracked_optimizer import TrackedOptimizer
from optitrace.monitoring.weight_norms import WeightNorms
from optitrace.records.trace import Outcome, Status, Versions
from optitrace.records.training import OptimizerTrace, Program, Training
from optitrace.version import __version__


class Monitor:
    """Monitors optimizers. It is the listener of `TorchHooks`.

    Attributes:
        step: how many steps all optimizers together took.
        failure: the error that ended the watching before the program ended; None if none did.
        is_blind: whether nothing can be observed with this torch.
    """

    def __init__(
        self,
        wish: RecordingConfig,
        *,
        only: Iterable[Optimizer] | None = None,
        models: Iterable[Module] = (),
        keeps_weight_norms: bool = False,
        make_probe: MakeProbe | None = None,
    ) -> None:
        """Begin.

        Args:
            wish: what to record.
            only: the optimizers to watch; all that take a step if not given.
            models: where to find the names of parameters; among all modules that there are if none is given.
            keeps_weight_norms: whether to keep the norms of each parameter's weights, for `weight_norms`.
            make_probe: makes what else is to look at the steps of an optimizer, before its first; if given.
        """
        self.step = 0
        self.failure: BaseException | None = None
        self.is_blind = False
        only = None if only is None else list(only)
        self._backwards = BackwardTracker()
        self._optimizers = OptimizerRegistry(
            wish,
            self._backwards,
            only=only,
            models=models,
            keeps_weight_norms=keeps_weight_norms,
            make_probe=make_probe,
        )
        self._unobserved: dict[str, None] = {}
        self._steps_before = 0
        for optimizer in only or ():
            self._optimizers.add(optimizer)

    @property
    def failures(self) -> list[Failure]:
        """What ended the watching of an optimizer, or all watching, before the program ended."""
        all_watching = [] if self.failure is None else [Failure("", self.step, self.failure)]
        names = self.names()
        failures = self._optimizers.failures
        return [*all_watching, *(replace(f, optimizer=renamed(f.optimizer, names)) for f in failures)]

    def unobserved(self, loss: str, *, is_blind: bool = False) -> None:
        """Keep a loss to report it."""
        self._unobserved[loss] = None
        self.is_blind = self.is_blind or is_blind

    @harmless
    def module_made(self, module: Module) -> None:
        """Register a module."""
        self._optimizers.modules.add(module)

    @harmless_to_others
    def made(self, optimizer: Optimizer) -> None:
        """Register an optimizer that the program is constructing."""
        if seen := self._optimizers.add(optimizer):
            seen.variable = assigned_name()

    @harmless_to_others
    def before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> StepArguments | None:
        """Record the weights, and the gradient: that of the closure's first evaluation if there is one."""
        watched = self._optimizers.watched(optimizer)
        if watched is None:
            return None
        if self._backwards.underway is not None:
            watched.history.after_backward(self._backwards.underway)
        watched.before_step()
        closure = next(filter(callable, (*args[1:], *kwargs.values())), None)
        if closure is None:
            watched.look_at_gradient()
            return None
        watched.before_closure()

        def looking() -> Any:
            loss = closure()
            self._after_closure(optimizer)
            return loss

        positional = tuple(looking if argument is closure else argument for argument in args)
        return positional, {name: looking if value is closure else value for name, value in kwargs.items()}

    @harmless_to_others
    def after_step(self, optimizer: Optimizer) -> None:
        """Record what a step made."""
        seen = self._optimizers.get(optimizer)
        if seen is not None and seen.watched is not None and seen.watched.is_in_step:
            self._count(seen)
            seen.watched.after_step(optimizer)
            self._optimizers.stepped(seen)

    @harmless
    def before_backward(self, tensors: Tensor | Sequence[Tensor]) -> Backward:
        """Record which gradients were cleared."""
        self._tell_histories(lambda history: history.before_backward())
        return self._backwards.begin(tensors)

    @harmless
    def after_backward(self, backward: Backward, is_done: bool) -> None:
        """Record the loss, for those whose gradients have changed."""
        self._backwards.end(backward, is_done=is_done)
        if is_done:
            self._tell_histories(lambda history: history.after_backward(backward))

    @harmless
    def zeroed(self, owner: Optimizer | Module) -> None:
        """Record that gradients were cleared."""

        def parameters() -> Iterable[Tensor]:
            return parameters_of(owner) if isinstance(owner, Optimizer) else owner.parameters()

        self._tell_histories(lambda history: history.zeroed(owner, parameters))

    @harmless
    def scaled(self, scaler: GradScaler, outputs: Any, scaled: Any) -> None:
        """Remember what the scaled loss was."""
        self._backwards.scaled_loss.remember(scaler, outputs, scaled)

    @harmless_to_others
    def unscaled(self, optimizer: Optimizer) -> None:
        """Record that a GradScaler has unscaled the gradients."""
        if seen := self._optimizers.add(optimizer):
            seen.history.unscaled()

    @harmless_to_others
    def before_scaler_step(self, optimizer: Optimizer) -> None:
        """Expect a step."""
        if watched := self._optimizers.watched(optimizer):
            watched.is_in_scaler = True
            self._steps_before = watched.taken

    @harmless_to_others
    def after_scaler_step(self, optimizer: Optimizer, is_done: bool) -> None:
        """Record a skipped step if GradScaler did not call step()."""
        if watched := self._optimizers.watched(optimizer):
            watched.is_in_scaler = False
            if is_done and watched.taken == self._steps_before:
                if seen := self._optimizers.get(optimizer):
                    self._count(seen)
                watched.skip()

    @harmless
    def before_clipping(self, parameters: Sequence[Tensor], limit: float) -> ClippingCall:
        """Record which gradients are about to be clipped."""
        keys = set(map(id, parameters))
        optimizers = self._optimizers.owning(keys)
        call = ClippingCall(limit, optimizers=[weakref.ref(optimizer) for optimizer in optimizers])
        for optimizer in optimizers:
            self._before_clipping(optimizer, call, keys)
        return call

    @harmless
    def after_clipping(self, call: ClippingCall, measured: Tensor) -> None:
        """Record what was measured."""
        for optimizer in call.done(measured):
            self._after_clipping(optimizer)

    @harmless
    def scheduler_made(self, scheduler: LRScheduler) -> None:
        """Register a scheduler."""
        if seen := self._optimizers.scheduled(scheduler):
            seen.scheduler_made(class_name(scheduler))

    @harmless
    def scheduler_stepped(self, scheduler: LRScheduler) -> None:
        """Count the step of a scheduler."""
        if seen := self._optimizers.scheduled(scheduler):
            seen.scheduler_stepped(class_name(scheduler))

    def give_up(self, optimizer: Optimizer, error: BaseException) -> None:
        """Watch an optimizer no longer, as that has failed."""
        self._optimizers.give_up(optimizer, error)

    def training(self, program: Program, outcome: Outcome, *, rank: int = 0, world_size: int = 1) -> Training:
        """Return what was seen so far; what was not watched to its end has failed, though it completed."""
        names = self.names()
        traces = [_with_names(each, names) for each in self._optimizers.traces()]
        if self.failures and outcome.status is Status.COMPLETED:
            outcome = Outcome(Status.FAILED, self.step, reason=self.failures[0].clause)
        return Training(
            program=replace(program, arguments=tuple(map(printable, program.arguments))),
            versions=Versions(optitrace=__version__, torch=torch.__version__),
            outcome=outcome,
            optimizers=tuple(traces),
            idle=tuple(names[idle] for idle in self._optimizers.idle()),
            unowned=tuple(
                replace(one, optimizer=renamed(one.optimizer, names)) for one in self._optimizers.unowned()
            ),
            unobserved=tuple(self._unobserved),
            rank=rank,
            world_size=world_size,
        )

    def numberless(self) -> tuple[str, ...]:
        """Return the classes of optimizers that had no parameter with numbers: all on ``meta``, or lazy."""
        return tuple(self._optimizers.numberless)

    def weight_norms(self) -> list[WeightNorms]:
        """Return the norms of the weights so far, as far as they are kept, in the order of `training`."""
        names = self.names()
        return [replace(n, optimizer=renamed(n.optimizer, names)) for n in self._optimizers.weight_norms()]

    def names(self) -> Mapping[str, str]:
        """Return what each optimizer is called in the end, by the class and number that it has until then."""
        return self._optimizers.names()

    def complaints(self) -> list[str]:
        """Return a sentence for each pattern that named nothing, or no place that there is."""
        return self._optimizers.complaints()

    def unmeasured(self) -> list[str]:
        """Return a sentence for each entry of a state that cannot be measured though it is wanted."""
        return self._optimizers.unmeasured()

    @harmless_to_others
    def _after_closure(self, optimizer: Optimizer) -> None:
        if (seen := self._optimizers.get(optimizer)) and seen.watched is not None:
            seen.watched.after_closure()

    @harmless_to_others
    def _before_clipping(self, optimizer: Optimizer, call: ClippingCall, parameters: Collection[int]) -> None:
        if watched := self._optimizers.watched(optimizer):
            backwards = self._backwards
            watched.before_clipping(call, parameters, backwards.underway, backwards.scaled_loss.scale)

    @harmless_to_others
    def _after_clipping(self, optimizer: Optimizer) -> None:
        if watched := self._optimizers.watched(optimizer):
            watched.after_clipping()

    def _tell_histories(self, tell: Callable[[GradientProvenance], None]) -> None:
        """Tell the gradient history of each optimizer; an error ends the watching of that one alone."""
        for seen in self._optimizers.alive():
            try:
                tell(seen.history)
            except BaseException as error:
                if not is_own(error):
                    raise
                self._optimizers.lose(seen, error)

    def _count(self, seen: TrackedOptimizer) -> None:
        """Count a step of an optimizer among those of all."""
        self.step += 1
        self._backwards.stepped()
        seen.count(self.step)


def _with_names(trace: OptimizerTrace, names: Mapping[str, str]) -> OptimizerTrace:
    """Return a trace in which optimizers have the names by which they are told apart."""
    parameters = tuple(replace(p, also_in=renamed(p.also_in, names)) for p in trace.parameters)
    return replace(trace, name=renamed(trace.name, names), parameters=parameters)
