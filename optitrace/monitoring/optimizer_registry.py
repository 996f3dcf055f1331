"""Registry of the optimizers of a program: alive, collected, or given up after a fault."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from threading import get_ident
from typing import TypeVar

from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.weak import WeakTensorKeyDictionary

from optitrace.monitoring.backward_tracker import BackwardTracker
from optitrace.monitoring.fault_isolation import Failure, undisturbed_callback, without_traceback
from optitrace.monitoring.ownership import ModuleRegistry, Ownership
from optitrace.monitoring.parameters import (
    NamedParameter,
    ParameterSet,
    class_name,
    groups_of,
    models_of,
    module_classes,
    names_of,
    parameters_of,
    state_tensors,
)
from optitrace.monitoring.recording_config import RecordingConfig, is_inspected, select
from optitrace.monitoring.segment_recorder import MakeProbe, SegmentRecorder
from optitrace.monitoring.tracked_optimizer import TrackedOptimizer
from optitrace.records.training import UnownedParameter

Part = TypeVar("Part")


class OptimizerRegistry:
    """Tracks each optimizer from when it is first known, and makes what records its steps.

    Iterating yields all that were tracked, in the order in which they became known.

    Attributes:
        modules: where the names of parameters come from if no model is given.
        numberless: the classes of those that had, when they were made, no parameter with numbers.
        failures: what ended the monitoring of optimizers before they took their last step.
    """

    def __init__(
        self,
        config: RecordingConfig,
        backwards: BackwardTracker,
        *,
        only: Iterable[Optimizer] | None = None,
        models: Iterable[Module] = (),
        keeps_weight_norms: bool = False,
        make_probe: MakeProbe | None = None,
    ) -> None:
        """Start empty; the arguments are those of a `Monitor`, and its backward tracker."""
        self.modules = ModuleRegistry()
        self.failures: list[Failure] = []
        self.numberless: dict[str, None] = {}
        self._config = config
        self._backwards = backwards
        self._models = list(models)
        self._keeps_weight_norms = keeps_weight_norms
        self._make_probe = make_probe
        self._only = None if only is None else set(map(id, only))
        self._tracked: list[TrackedOptimizer] = []
        self._alive: dict[int, TrackedOptimizer] = {}
        self._given_up: set[int] = set()
        self._references: dict[int, weakref.ref[Optimizer]] = {}
        self._class_counts: dict[str, int] = {}
        self._ownership = Ownership()
        self._movers: MutableMapping[Tensor, TrackedOptimizer] = WeakTensorKeyDictionary()

    def __iter__(self) -> Iterator[TrackedOptimizer]:
        return iter(self._tracked)

    def add(self, optimizer: Optimizer) -> TrackedOptimizer | None:
        """Track an optimizer; return what is known of it, or None if it is not to be monitored."""
        key = id(optimizer)
        if key in self._alive or key in self._given_up or (self._only is not None and key not in self._only):
            return self._alive.get(key)
        parameters = parameters_of(optimizer)
        if not parameters:
            if any(group["params"] for group in optimizer.param_groups):
                self.numberless[class_name(optimizer)] = None
            return None
        cls = class_name(optimizer)
        count = self._class_counts[cls] = self._class_counts.get(cls, 0) + 1
        tracked = TrackedOptimizer(
            optimizer, cls if count == 1 else f"{cls} {count}", self._backwards.source()
        )
        self._when_gone(optimizer, lambda: self._gone(key, tracked))
        self._alive[key] = tracked
        self._tracked.append(tracked)
        self._ownership.own(tracked.name, parameters)
        return tracked

    def get(self, optimizer: Optimizer) -> TrackedOptimizer | None:
        """Return what is known of an optimizer that is monitored, None of another."""
        return self._alive.get(id(optimizer))

    def alive(self) -> Sequence[TrackedOptimizer]:
        """Return all that are monitored and live: as they are now, for any may go at any moment."""
        return tuple(self._alive.values())

    def in_this_thread(self) -> Sequence[TrackedOptimizer]:
        """Return those whose gradients a backward of this thread may compute.

        Where a program trains several in threads of their own, these are the thread's, and those that no
        thread has used so far; a thread that has none of its own computes for all.
        """
        thread, alive = get_ident(), self.alive()
        if not any(thread in one.threads for one in alive):
            return alive
        return [one for one in alive if thread in one.threads or not one.threads]

    def recorder(self, optimizer: Optimizer) -> SegmentRecorder | None:
        """Return what records an optimizer, made before its first step and whenever its parameters change."""
        tracked = self._alive.get(id(optimizer)) or self.add(optimizer)
        if tracked is None:
            return None
        recorder = tracked.recorder
        if recorder is None or recorder.has_changed(optimizer):
            if not parameters_of(optimizer):  # a step that moves nothing
                return None
            recorder = self._begin(optimizer, tracked)
        return recorder

    def owning(self, parameters: Collection[int]) -> list[Optimizer]:
        """Return the optimizers that have any of the parameters with these ids."""
        names = self._ownership.owners(parameters)
        found = (tracked.optimizer() for tracked in self.alive() if tracked.name in names)
        return [optimizer for optimizer in found if optimizer is not None]

    def scheduled(self, scheduler: LRScheduler) -> TrackedOptimizer | None:
        """Return the optimizer that a scheduler moves: its own, or the one in that if it only passes on."""
        optimizer = getattr(scheduler, "optimizer", None)
        if optimizer is None:  # a class of someone's that is no scheduler but by name
            return None
        inner = (value for value in vars(optimizer).values() if isinstance(value, Optimizer))
        return next((known for one in (optimizer, *inner) if (known := self.get(one)) is not None), None)

    def stepped(self, optimizer: Optimizer, tracked: TrackedOptimizer, row: int) -> None:
        """Look for parameters that no optimizer has, and for a state that another one has, too.

        A search among the modules takes its time: it is made after the recorded steps that are inspected, and
        after those before which modules were given others, as far as that is not done all the time.

        Args:
            optimizer: the optimizer that has stepped.
            tracked: what is known of it.
            row: the number of the step among the recorded ones; 0 if it is not recorded.
        """
        is_due = row > 1 and is_inspected(row)
        if is_due:
            self._look_for_shared_state(optimizer, tracked)
        if is_due or self.modules.has_news():
            self._look_for_unowned(tracked)
        else:
            self._ownership.look_again(tracked.name, tracked.taken)

    def give_up(self, optimizer: Optimizer, error: BaseException) -> None:
        """Monitor an optimizer no longer, though it may not have come to be tracked."""
        if (tracked := self.get(optimizer)) is not None:
            self.lose(tracked, error)
            return
        key = id(optimizer)
        self._given_up.add(key)
        self._when_gone(optimizer, lambda: self._forget(key))
        self.failures.append(Failure(class_name(optimizer), 0, without_traceback(error)))

    def lose(self, tracked: TrackedOptimizer, error: BaseException) -> None:
        """Monitor one no longer, as that has failed; what was recorded of it is kept."""
        for key in [key for key, one in self._alive.items() if one is tracked]:
            del self._alive[key]
            self._given_up.add(key)
        self.failures.append(Failure(tracked.name, tracked.taken, without_traceback(error)))
        tracked.give_up(self.also_in(tracked))

    def collect(self, parts_of: Callable[[TrackedOptimizer], Sequence[Part]]) -> list[Part]:
        """Return some parts of all that were tracked; what cannot be read is lost."""
        found: list[Part] = []
        for tracked in self._tracked:
            try:
                found += parts_of(tracked)
            except Exception as error:
                self.lose(tracked, error)
                found += parts_of(tracked)
        return found

    def also_in(self, tracked: TrackedOptimizer) -> Mapping[int, str]:
        """Return the name of another optimizer that moves a parameter too, by the parameter's id."""
        sharing = self._ownership.sharing(tracked.name)
        others = (other for other in self.alive() if other.name in sharing)
        return self._ownership.shared(
            tracked.name, {other.name for other in others if tracked.steps_in_turn_with(other)}
        )

    def idle(self) -> list[str]:
        """Return the names of those that took no step."""
        lost = {failure.optimizer for failure in self.failures}
        idle = (one for one in self._tracked if not one.taken and not one.wrapped)
        return [one.name for one in idle if one.name not in lost]

    def look_for_unowned(self) -> None:
        """Look once more for parameters that get gradients and that no optimizer has."""
        for tracked in self.alive():
            self._look_for_unowned(tracked)

    def unowned(self) -> tuple[UnownedParameter, ...]:
        """Return those of them that were found."""
        return self._ownership.unowned()

    def _begin(self, optimizer: Optimizer, tracked: TrackedOptimizer) -> SegmentRecorder:
        """Begin a segment of an optimizer's trace."""
        name, taken = tracked.segment_name, tracked.taken
        if tracked.recorder is not None:
            tracked.finish(self.also_in(tracked))
        parameters = parameters_of(optimizer)
        tracked.provenance.follow(parameters)
        self._ownership.own(tracked.name, parameters)
        self._note_wrappers(optimizer, tracked)
        modules = self._models or self.modules.owning(parameters)
        models = models_of(parameters, modules)
        tracked.has_models = bool(models)
        self._ownership.look_at(models, tracked.name, taken + 1)
        names = names_of(groups_of(optimizer), models)
        selection = select(self._config.patterns, names, [tuple(p.shape) for p in parameters])
        recorder = SegmentRecorder(
            optimizer,
            name,
            tracked.provenance,
            ParameterSet(optimizer, names, module_classes(parameters, modules)),
            self._config,
            weights=selection.weights,
            keeps_weight_norms=self._keeps_weight_norms,
            taken=taken,
        )
        tracked.begin(recorder, selection)
        self._look_for_predecessor(optimizer, tracked)
        if self._make_probe is not None:
            recorder.probe = self._make_probe(optimizer, recorder)
        return recorder

    def _look_for_predecessor(self, optimizer: Optimizer, tracked: TrackedOptimizer) -> None:
        """Record which optimizer has moved the parameters before, and that this one does from now on."""
        assert tracked.recorder is not None
        movers = set()
        for parameter in tracked.recorder.members.parameters:
            movers.add(self._movers.get(parameter, tracked))
            self._movers[parameter] = tracked
        [*other] = movers - {tracked}
        if len(other) == 1:
            tracked.takes_over(other[0])
            if len(movers) == 1 and not optimizer.state:
                tracked.comes_after(other[0])

    def _models_of(self, parameters: Sequence[Tensor]) -> list[list[NamedParameter]]:
        return models_of(parameters, self._models or self.modules.owning(parameters))

    def _look_for_unowned(self, tracked: TrackedOptimizer) -> None:
        optimizer = tracked.optimizer()
        if optimizer is not None and tracked.has_models:  # else a search of all objects would find none again
            self._ownership.look_at(self._models_of(parameters_of(optimizer)), tracked.name, tracked.taken)

    def _look_for_shared_state(self, optimizer: Optimizer, tracked: TrackedOptimizer) -> None:
        """Record the optimizer whose state has a tensor of this one's, which both then change."""
        tensors = {id(entry) for entry in state_tensors(optimizer)}
        for other in self.alive():
            one = other.optimizer()
            if (
                one is None
                or one is optimizer
                or not {tracked.name, other.name}.isdisjoint(tracked.wrapped | other.wrapped)
            ):
                continue
            if any(id(entry) in tensors for entry in state_tensors(one)):
                tracked.shares_state_with(other)

    def _note_wrappers(self, optimizer: Optimizer, inner: TrackedOptimizer) -> None:
        """Record optimizers that wrap another one, whose steps and parameters are then the same."""
        for tracked in self.alive():
            outer = tracked.optimizer()
            if outer is not None and any(value is optimizer for value in vars(outer).values()):
                tracked.wrapped.add(inner.name)

    def _when_gone(self, optimizer: Optimizer, then: Callable[[], None]) -> None:
        @undisturbed_callback
        def gone(reference: weakref.ref[Optimizer]) -> None:
            then()

        self._references[id(optimizer)] = weakref.ref(optimizer, gone)

    def _gone(self, key: int, tracked: TrackedOptimizer) -> None:
        """Keep what is known of an optimizer that is no more, and let its parameters go."""
        self._forget(key)
        self._ownership.look_again(tracked.name, tracked.taken)
        if self._alive.pop(key, None) is not None:
            try:
                tracked.finish(self.also_in(tracked))
                tracked.let_go()
            except Exception as error:
                self.lose(tracked, error)
        self._ownership.let_go(tracked.name)

    def _forget(self, key: int) -> None:
        """Let go of the id of an optimizer that is no more: another one may get it."""
        self._given_up.discard(key)
        del self._references[key]
