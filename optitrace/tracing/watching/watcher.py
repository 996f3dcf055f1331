"""The watcher: listens to all optimizers of a program, and tells in the end what was seen."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from optitrace.tracing.trace import Outcome, Versions
from optitrace.tracing.watching.backwards import Backward, Backwards
from optitrace.tracing.watching.description import groups_of, parameters_of
from optitrace.tracing.watching.harmless import harmless
from optitrace.tracing.watching.interception import StepArguments
from optitrace.tracing.watching.known_modules import KnownModules
from optitrace.tracing.watching.naming import models_of, names_of
from optitrace.tracing.watching.ownership import Ownership
from optitrace.tracing.watching.patterns import Matches, complaints, match
from optitrace.tracing.watching.seen import SeenOptimizer
from optitrace.tracing.watching.training import Program, Training
from optitrace.tracing.watching.watched_optimizer import Probe, WatchedOptimizer
from optitrace.tracing.watching.weight_norms import WeightNorms
from optitrace.tracing.watching.wish import RecordingWish
from optitrace.version import __version__

MakeProbe = Callable[[Optimizer, WatchedOptimizer], Probe | None]
"""Makes what else is to look at an optimizer's steps."""


class Watcher:
    """Watches optimizers. It is the listener of an `Interception`.

    Attributes:
        step: how many steps all optimizers together took.
        failure: the error that ended the watching before the program ended; None if none did.
    """

    def __init__(
        self,
        wish: RecordingWish,
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
        self.failure: Exception | None = None
        self._wish = wish
        self._models = list(models)
        self._modules = KnownModules()
        self._keeps_weight_norms = keeps_weight_norms
        self._make_probe = make_probe
        self._only = None if only is None else {id(optimizer) for optimizer in only}
        self._seen: dict[int, SeenOptimizer] = {}
        self._order: list[SeenOptimizer] = []
        self._class_counts: dict[str, int] = {}
        self._ownership = Ownership()
        self._patterns: list[Matches] = []
        self._backwards = Backwards()
        self._steps_before = 0
        for optimizer in only or ():
            self.made(optimizer)

    @harmless
    def module_made(self, module: Module) -> None:
        """Know a module."""
        self._modules.add(module)

    @harmless
    def made(self, optimizer: Optimizer) -> None:
        """Know an optimizer."""
        if id(optimizer) in self._seen or (self._only is not None and id(optimizer) not in self._only):
            return
        if not parameters_of(optimizer):
            return
        cls = type(optimizer).__name__
        count = self._class_counts[cls] = self._class_counts.get(cls, 0) + 1
        seen = SeenOptimizer(optimizer, cls if count == 1 else f"{cls} {count}")
        self._seen[id(optimizer)] = seen
        self._order.append(seen)
        self._ownership.own(seen.name, parameters_of(optimizer))
        weakref.finalize(optimizer, self._gone, id(optimizer)).atexit = False

    @harmless
    def before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> StepArguments | None:
        """Note the weights, and the gradient: that of the closure's first evaluation if there is one."""
        watched = self._watch(optimizer)
        if watched is None:
            return None
        if self._backwards.underway is not None:
            watched.history.after_backward(self._backwards.underway)
        watched.before_step()
        is_given = kwargs or len(args) > 1
        closure = (kwargs.get("closure") or next(filter(callable, args[1:]), None)) if is_given else None
        if closure is None:
            watched.look_at_gradient()
            return None
        looking = watched.looking(closure)
        given = tuple(looking if argument is closure else argument for argument in args)
        return given, {name: looking if value is closure else value for name, value in kwargs.items()}

    @harmless
    def after_step(self, optimizer: Optimizer) -> None:
        """Note what a step made."""
        seen = self._seen.get(id(optimizer))
        if seen is not None and seen.watched is not None and seen.watched.is_in_step:
            self._count(seen)
            seen.watched.after_step(optimizer)

    @harmless
    def before_backward(self, tensors: Tensor | Sequence[Tensor]) -> Backward | None:
        """See which gradients were cleared."""
        for seen in self._seen.values():
            seen.history.before_backward()
        return self._backwards.begin(tensors)

    @harmless
    def after_backward(self, backward: Backward | None, is_done: bool) -> None:
        """Note the loss, for those whose gradients have changed."""
        if backward is None:  # the listening began within
            return
        self._backwards.end(backward)
        if is_done:
            for seen in self._seen.values():
                seen.history.after_backward(backward)

    @harmless
    def scaled(self, outputs: Any, scaled: Any) -> None:
        """Remember what the scaled loss was."""
        self._backwards.scaled_loss.remember(outputs, scaled)

    @harmless
    def unscaled(self, optimizer: Optimizer) -> None:
        """Note that the gradients have their size again."""
        if seen := self._seen.get(id(optimizer)):
            seen.history.is_scaled = False

    @harmless
    def before_scaler_step(self, optimizer: Optimizer) -> None:
        """Expect a step."""
        if watched := self._watch(optimizer):
            watched.is_in_scaler = True
            self._steps_before = watched.taken

    @harmless
    def after_scaler_step(self, optimizer: Optimizer, is_done: bool) -> None:
        """Note that there was none, if there was none."""
        if watched := self._watch(optimizer):
            watched.is_in_scaler = False
            if is_done and watched.taken == self._steps_before:
                self._count(self._seen[id(optimizer)])
                watched.skip()

    @harmless
    def before_clipping(self, parameters: Sequence[Tensor]) -> None:
        """Note the gradients before they are clipped."""
        for watched in self._owning(parameters):
            watched.before_clipping()

    @harmless
    def after_clipping(self, parameters: Sequence[Tensor], measured: Tensor, limit: float) -> None:
        """Note what was measured."""
        for watched in self._owning(parameters):
            watched.after_clipping(measured, limit)

    @harmless
    def scheduler_made(self, scheduler: LRScheduler) -> None:
        """Know a scheduler."""
        if seen := self._scheduled(scheduler.optimizer):
            seen.scheduler_made(type(scheduler).__name__)

    @harmless
    def scheduler_stepped(self, scheduler: LRScheduler) -> None:
        """Count the step of a scheduler."""
        if seen := self._scheduled(scheduler.optimizer):
            seen.scheduler_stepped(type(scheduler).__name__)

    def training(self, program: Program, outcome: Outcome, *, rank: int = 0, world_size: int = 1) -> Training:
        """Return what was seen so far."""
        traces = [trace for seen in self._order for trace in seen.traces(self._also_in(seen))]
        return Training(
            program=program,
            versions=Versions(optitrace=__version__, torch=torch.__version__),
            outcome=outcome,
            optimizers=tuple(traces),
            idle=tuple(seen.name for seen in self._order if not seen.taken and not seen.wrapped),
            unowned=self._ownership.unowned(),
            rank=rank,
            world_size=world_size,
        )

    def weight_norms(self) -> list[WeightNorms]:
        """Return the norms of the weights so far, as far as they are kept, in the order of `training`."""
        return [norms for seen in self._order for norms in seen.weight_norms()]

    def complaints(self) -> list[str]:
        """Return a sentence for each pattern that named nothing, or no place that there is."""
        return complaints(self._wish.patterns, self._patterns)

    def _scheduled(self, optimizer: Optimizer) -> SeenOptimizer | None:
        """Return the optimizer that a scheduler moves: this one, or the one in it if it only passes on."""
        inner = (value for value in vars(optimizer).values() if isinstance(value, Optimizer))
        found = (self._seen.get(id(one)) for one in (optimizer, *inner))
        return next((seen for seen in found if seen is not None), None)

    def _count(self, seen: SeenOptimizer) -> None:
        """Count a step of an optimizer among those of all."""
        self.step += 1
        seen.count(self.step)

    def _watch(self, optimizer: Optimizer) -> WatchedOptimizer | None:
        """Return what watches an optimizer, made before its first step and whenever its parameters change."""
        seen = self._seen.get(id(optimizer))
        if seen is None:
            self.made(optimizer)
            seen = self._seen.get(id(optimizer))
            if seen is None:
                return None
        if seen.watched is None or seen.watched.has_changed(optimizer):
            if not parameters_of(optimizer):  # a step that moves nothing
                return None
            self._begin(optimizer, seen)
        assert seen.watched is not None
        seen.watched.follow(optimizer)
        return seen.watched

    def _begin(self, optimizer: Optimizer, seen: SeenOptimizer) -> None:
        name, taken = seen.part_name, seen.taken
        if seen.watched is not None:
            seen.finish(self._also_in(seen))
        parameters = parameters_of(optimizer)
        seen.history.follow(parameters)
        self._ownership.own(seen.name, parameters)
        self._note_wrappers(optimizer, seen)
        models = models_of(parameters, self._models or self._modules.owning(parameters))
        self._ownership.look_at(models)
        names = names_of(groups_of(optimizer), models)
        shapes = [tuple(p.shape) for p in parameters]
        matches = match(self._wish.patterns, names, shapes)
        self._patterns.append(matches)
        seen.watched = WatchedOptimizer(
            optimizer,
            name,
            seen.history,
            names,
            self._wish,
            values=matches.watched,
            keeps_weight_norms=self._keeps_weight_norms,
            taken=taken,
        )
        if self._make_probe is not None:
            seen.watched.probe = self._make_probe(optimizer, seen.watched)

    def _also_in(self, seen: SeenOptimizer) -> Mapping[int, str]:
        """Return the name of another optimizer that moves a parameter too, by the parameter's id."""
        sharing = self._ownership.sharing(seen.name)
        rivals = {
            other.name
            for other in self._seen.values()
            if other.name in sharing and seen.steps_in_turn_with(other)
        }
        return self._ownership.shared(seen.name, rivals)

    def _gone(self, key: int) -> None:
        """Keep what is known of an optimizer that is no more, and let its parameters go."""
        seen = self._seen.pop(key)
        seen.finish(self._also_in(seen))
        del seen.history  # and with it the parameters
        self._ownership.let_go(seen.name)

    def _owning(self, parameters: Sequence[Tensor]) -> list[WatchedOptimizer]:
        """Return what watches the optimizers that have the first of these parameters."""
        names = self._ownership.owners(parameters[0]) if parameters else ()
        alive = [o for seen in self._seen.values() if seen.name in names and (o := seen.optimizer())]
        return [watched for optimizer in alive if (watched := self._watch(optimizer)) is not None]

    def _note_wrappers(self, optimizer: Optimizer, inner: SeenOptimizer) -> None:
        """Know the optimizers that have another in them, whose steps and parameters are then the same."""
        for seen in self._seen.values():
            outer = seen.optimizer()
            if outer is not None and any(value is optimizer for value in vars(outer).values()):
                seen.wrapped.add(inner.name)
