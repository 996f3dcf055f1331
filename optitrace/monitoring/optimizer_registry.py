"""Registry of the optimizers of a program: alive, collected, or no longer observed after a fault."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from torch.nn import Module
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from optitrace.monitoring.backward_tracker import BackwardTracker
from optitrace.monitoring.fault_isolation import Failure, without_traceback
from optitrace.monitoring.module_registry import ModuleRegistry
from optitrace.monitoring.optimizer_names import told_apart
from optitrace.monitoring.ownership import Ownership
from optitrace.monitoring.param_groups import class_name, groups_of, parameters_of
from optitrace.monitoring.parameter_names import models_of, names_of
from optitrace.monitoring.parameter_set import ParameterSet
from optitrace.monitoring.recording_config import RecordingConfig, is_inspected
from optitrace.monitoring.segment_recorder import Probe, SegmentRecorder
from optitrace.monitoring.signal_deferral import undisturbed_callback
from optitrace.monitoring.tracked_optimizer import TrackedOptimizer
from optitrace.monitoring.weight_norms import WeightNorms
from optitrace.monitoring.weight_selectors import Matches, complaints, match
from optitrace.records.training import OptimizerTrace, UnownedParameter

Part = TypeVar("Part")

MakeProbe = Callable[[Optimizer, SegmentRecorder], Probe | None]
"""Makes what else is to look at an optimizer's steps."""


class OptimizerRegistry:
    """Knows each optimizer from when it is first heard of, and makes what watches its steps.

    Attributes:
        modules: where the names of parameters come from if no model is given.
        numberless: the classes of those that had, when they were made, no parameter with numbers.
        failures: what ended the watching of optimizers before they took their last step.
    """

    def __init__(
        self,
        wish: RecordingConfig,
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
        self._wish = wish
        self._backwards = backwards
        self._models = list(models)
        self._keeps_weight_norms = keeps_weight_norms
        self._make_probe = make_probe
        self._only = None if only is None else {id(optimizer) for optimizer in only}
        self._alive: dict[int, TrackedOptimizer] = {}
        self._given_up: set[int] = set()
        self._references: dict[int, weakref.ref[Optimizer]] = {}
        self._order: list[TrackedOptimizer] = []
        self._class_counts: dict[str, int] = {}
        self._ownership = Ownership()
        self._patterns: list[Matches] = []
        self._unmeasured: list[tuple[str, Mapping[str, str]]] = []

    def add(self, optimizer: Optimizer) -> TrackedOptimizer | None:
        """Register an optimizer; return what is tracked of it, or None if it is not to be observed."""
        key = id(optimizer)
        if key in self._alive or key in self._given_up or (self._only is not None and key not in self._only):
            return self._alive.get(key)
        parameters = parameters_of(optimizer)
        if not parameters:
            if optimizer.param_groups and any(group["params"] for group in optimizer.param_groups):
                self.numberless[class_name(optimizer)] = None
            return None
        cls = class_name(optimizer)
        count = self._class_counts[cls] = self._class_counts.get(cls, 0) + 1
        seen = TrackedOptimizer(optimizer, cls if count == 1 else f"{cls} {count}", self._backwards.heard())

        @undisturbed_callback
        def gone(reference: weakref.ref[Optimizer]) -> None:
            self._gone(key, seen)

        self._references[key] = weakref.ref(optimizer, gone)
        self._alive[key] = seen
        self._order.append(seen)
        self._ownership.own(seen.name, parameters)
        return seen

    def get(self, optimizer: Optimizer) -> TrackedOptimizer | None:
        """Return what is known of an optimizer that is watched, None of another."""
        return self._alive.get(id(optimizer))

    def alive(self) -> Sequence[TrackedOptimizer]:
        """Return what is known of all that are watched and live: now, as any of them may go at any moment."""
        return tuple(self._alive.values())

    def watched(self, optimizer: Optimizer) -> SegmentRecorder | None:
        """Return what watches an optimizer, made before its first step and whenever its parameters change."""
        seen = self._alive.get(id(optimizer)) or self.add(optimizer)
        if seen is None:
            return None
        watched = seen.watched
        if watched is None or watched.has_changed(optimizer):
            if not parameters_of(optimizer):  # a step that moves nothing
                return None
            watched = seen.watched = self._begin(optimizer, seen)
        watched.follow(optimizer)
        return watched

    def owning(self, parameters: Collection[int]) -> list[Optimizer]:
        """Return the optimizers that have any of the parameters with these ids."""
        names = self._ownership.owners(parameters)
        return [one for seen in self.alive() if seen.name in names and (one := seen.optimizer()) is not None]

    def scheduled(self, scheduler: LRScheduler) -> TrackedOptimizer | None:
        """Return the optimizer that a scheduler moves: its own, or the one in that if it only passes on."""
        optimizer = getattr(scheduler, "optimizer", None)
        if optimizer is None:  # a class of someone's that is no scheduler but by name
            return None
        inner = (value for value in vars(optimizer).values() if isinstance(value, Optimizer))
        found = (self.get(one) for one in (optimizer, *inner))
        return next((seen for seen in found if seen is not None), None)

    def give_up(self, optimizer: Optimizer, error: BaseException) -> None:
        """Watch an optimizer no longer, though it may not have come to be known."""
        seen = self.get(optimizer)
        if seen is None:
            key = id(optimizer)

            @undisturbed_callback
            def gone(reference: weakref.ref[Optimizer]) -> None:
                self._forget(key)

            self._given_up.add(key)
            self._references[key] = weakref.ref(optimizer, gone)
            self.failures.append(Failure(class_name(optimizer), 0, without_traceback(error)))
        else:
            self.lose(seen, error)

    def lose(self, seen: TrackedOptimizer, error: BaseException) -> None:
        """Watch one no longer, as that has failed; what was recorded of it is kept."""
        for key in [key for key, one in self._alive.items() if one is seen]:
            del self._alive[key]
            self._given_up.add(key)
        self.failures.append(Failure(seen.name, seen.taken, without_traceback(error)))
        seen.give_up(self._also_in(seen))

    def traces(self) -> list[OptimizerTrace]:
        """Return what was recorded so far of each that took a step."""
        return list(self._parts(lambda seen: seen.traces(self._also_in(seen))))

    def weight_norms(self) -> list[WeightNorms]:
        """Return the norms of the weights so far, as far as they are kept, in the order of `traces`."""
        return list(self._parts(TrackedOptimizer.weight_norms))

    def idle(self) -> tuple[str, ...]:
        """Return the names of those that took no step."""
        lost = {failure.optimizer for failure in self.failures}
        return tuple(
            seen.name for seen in self._order if not seen.taken and not seen.wrapped and seen.name not in lost
        )

    def names(self) -> Mapping[str, str]:
        """Return what each optimizer is called in the end, by the class and number that it has until then."""
        return told_apart([(seen.name, seen.variable, seen.parameters) for seen in self._order])

    def stepped(self, seen: TrackedOptimizer) -> None:
        """Look for parameters that no optimizer has, after the recorded steps that are inspected."""
        rows = 0 if seen.watched is None else seen.watched.rows
        if rows != seen.looked_at and rows > 1 and is_inspected(rows):
            seen.looked_at = rows
            self._look_for_unowned(seen)

    def unowned(self) -> tuple[UnownedParameter, ...]:
        """Return the parameters that get gradients and that no optimizer has."""
        for seen in self.alive():
            self._look_for_unowned(seen)
        return self._ownership.unowned()

    def complaints(self) -> list[str]:
        """Return a sentence for each pattern that named nothing, or no place that there is."""
        return complaints(self._wish.patterns, self._patterns)

    def unmeasured(self) -> list[str]:
        """Return a sentence for each entry of a state that cannot be measured though it is wanted."""
        return [
            f"{key} in the state of {name} cannot be measured and is left out: {why}."
            for name, entries in self._unmeasured
            for key, why in entries.items()
        ]

    def _begin(self, optimizer: Optimizer, seen: TrackedOptimizer) -> SegmentRecorder:
        name, taken = seen.part_name, seen.taken
        if seen.watched is not None:
            seen.finish(self._also_in(seen))
        parameters = parameters_of(optimizer)
        seen.history.follow(parameters)
        self._ownership.own(seen.name, parameters)
        self._note_wrappers(optimizer, seen)
        models = models_of(parameters, self._models or self.modules.owning(parameters))
        seen.has_models = bool(models)
        self._ownership.look_at(models, seen.name, taken + 1)
        names = names_of(groups_of(optimizer), models)
        matches = match(self._wish.patterns, names, [tuple(p.shape) for p in parameters])
        self._patterns.append(matches)
        watched = SegmentRecorder(
            optimizer,
            name,
            seen.history,
            ParameterSet(optimizer, names),
            self._wish,
            values=matches.watched,
            keeps_weight_norms=self._keeps_weight_norms,
            taken=taken,
        )
        self._unmeasured.append((seen.name, watched.unmeasured))
        if self._make_probe is not None:
            watched.probe = self._make_probe(optimizer, watched)
        return watched

    def _look_for_unowned(self, seen: TrackedOptimizer) -> None:
        optimizer = seen.optimizer()
        if optimizer is not None and seen.has_models:  # else a search among all objects would find none again
            parameters = parameters_of(optimizer)
            models = models_of(parameters, self._models or self.modules.owning(parameters))
            self._ownership.look_at(models, seen.name, seen.taken)

    def _parts(self, parts_of: Callable[[TrackedOptimizer], Sequence[Part]]) -> Iterator[Part]:
        for seen in self._order:
            try:
                yield from parts_of(seen)
            except Exception as error:  # what is still to be read may fail
                self.lose(seen, error)
                yield from parts_of(seen)

    def _gone(self, key: int, seen: TrackedOptimizer) -> None:
        """Keep what is known of an optimizer that is no more, and let its parameters go."""
        self._forget(key)
        self._ownership.look_again(seen.name, seen.taken)
        if self._alive.pop(key, None) is not None:
            try:
                seen.finish(self._also_in(seen))
                seen.let_go()
            except Exception as error:
                self.lose(seen, error)
        self._ownership.let_go(seen.name)

    def _forget(self, key: int) -> None:
        """Let go of the id of an optimizer that is no more: another one may get it."""
        self._given_up.discard(key)
        del self._references[key]

    def _also_in(self, seen: TrackedOptimizer) -> Mapping[int, str]:
        """Return the name of another optimizer that moves a parameter too, by the parameter's id."""
        sharing = self._ownership.sharing(seen.name)
        rivals = {
            other.name for other in self.alive() if other.name in sharing and seen.steps_in_turn_with(other)
        }
        return self._ownership.shared(seen.name, rivals)

    def _note_wrappers(self, optimizer: Optimizer, inner: TrackedOptimizer) -> None:
        """Record optimizers that wrap another one, whose steps and parameters are then the same."""
        for seen in self.alive():
            outer = seen.optimizer()
            if outer is not None and any(value is optimizer for value in vars(outer).values()):
                seen.wrapped.add(inner.name)
