"""State kept about one optimizer, from its construction until after it is collected."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from torch.optim import Optimizer

from optitrace.monitoring.backward_tracker import Backward
from optitrace.monitoring.continuity import Left
from optitrace.monitoring.gradient_provenance import GradientProvenance
from optitrace.monitoring.learning_rates import LearningRateTracker
from optitrace.monitoring.norms import WeightNorms
from optitrace.monitoring.parameters import parameters_of
from optitrace.monitoring.recording_config import WeightSelection
from optitrace.monitoring.segment_recorder import SegmentRecorder
from optitrace.records.training import OptimizerTrace, SharedState, UnloadedState


class TrackedOptimizer:
    """What is known of one optimizer: alive or, once it is gone, what is left of it.

    Where it is given other parameters on the way, its trace is in segments, each over parameters of its own.

    Attributes:
        name: its class, with a number where there are several.
        variable: the name that the program gave to it when it was made; empty if none is known.
        optimizer: the optimizer, as long as it lives.
        learning_rates: what schedulers and the program do to them.
        provenance: where its gradients come from; gone with the optimizer, or as soon as it is given up.
        recorder: records its steps now; None before the first, and after it is gone or given up.
        wrapped: the names of the optimizers in it, whose steps and parameters are then its own, too.
        nested: how many steps of it are underway within its step, as of a class that calls that of its base.
        first: its first step among those of all optimizers; 0 if it took none.
        last: its last one among them.
        has_models: whether any module is known to have parameters of it.
        threads: those in which the program has stepped it or cleared its gradients.
        selections: what the patterns of weights select, segment after segment.
    """

    def __init__(self, optimizer: Optimizer, name: str, source: Backward | None) -> None:
        """Track an optimizer.

        Args:
            optimizer: the optimizer.
            name: what to call it.
            source: where its gradients come from if it has any already.
        """
        self.name = name
        self.variable = ""
        self.optimizer = weakref.ref(optimizer)
        self.learning_rates = LearningRateTracker(optimizer)
        self.provenance = GradientProvenance(parameters_of(optimizer), source)
        self.recorder: SegmentRecorder | None = None
        self.wrapped: set[str] = set()
        self.nested = self.first = self.last = 0
        self.has_models = False
        self.threads: set[int] = set()
        self.selections: list[WeightSelection] = []
        self._unmeasured: list[Mapping[str, str]] = []
        self._shares_with: TrackedOptimizer | None = None
        self._shared_since = 0
        self._unloaded: UnloadedState | None = None
        self._is_loaded = False
        self._mover: TrackedOptimizer | None = None
        self._predecessor: TrackedOptimizer | None = None
        self._left: Left | None = None
        self._finished: list[OptimizerTrace] = []
        self._finished_norms: list[WeightNorms] = []

    @property
    def taken(self) -> int:
        """How many steps it took, as far as it was monitored."""
        if self.recorder is not None:
            return self.recorder.taken
        return self._finished[-1].taken if self._finished else 0

    @property
    def segment_name(self) -> str:
        """The name of the segment that begins with the next step."""
        return f"{self.name}, from step {self.taken + 1} on" if self.taken else self.name

    @property
    def parameters(self) -> Sequence[str]:
        """The names of its parameters, as far as it was monitored."""
        if self.recorder is not None:
            return self.recorder.members.names
        return [p.name for p in self._finished[-1].parameters] if self._finished else []

    @property
    def unmeasured(self) -> Mapping[str, str]:
        """The entries of the state that cannot be measured though they are wanted, and why."""
        return {key: why for entries in self._unmeasured for key, why in entries.items()}

    def begin(self, recorder: SegmentRecorder, selection: WeightSelection) -> None:
        """Record the next steps by a recorder, and the weights of a selection."""
        self.recorder = recorder
        if self._is_loaded and not self.taken:
            recorder.continuity.loaded()
        self.selections.append(selection)
        self._unmeasured.append(recorder.unmeasured)

    def loaded(self, optimizer: Optimizer) -> None:
        """Record that the program has loaded its state."""
        self._is_loaded = True
        self.learning_rates.loaded(optimizer)
        if self.recorder is not None:
            self.recorder.continuity.loaded()

    def begins_without(self, state: UnloadedState | None) -> None:
        """Record that it begins without a state that was in a checkpoint."""
        self._unloaded = state

    def shares_state_with(self, other: TrackedOptimizer) -> None:
        """Record, after a step, another optimizer whose state has the same tensors."""
        if self._shares_with is None:
            self._shares_with, self._shared_since = other, self.taken

    def takes_over(self, other: TrackedOptimizer) -> None:
        """Record the only other optimizer that has moved some of its parameters before."""
        self._mover = self._mover or other

    def comes_after(self, other: TrackedOptimizer) -> None:
        """Record an optimizer that has moved the same parameters before, if its state could have gone on.

        That is so where this begins with the weights that the other has left, and is of the same class.
        """
        left = other.recorder.continuity.left if other.recorder is not None else other._left
        is_alike = other.name.partition(" ")[0] == self.name.partition(" ")[0]
        if left is not None and is_alike and self.recorder is not None:
            self._predecessor = other if self.recorder.continuity.goes_on_from(left) else None

    def count(self, step: int) -> None:
        """Count a step, by its number among those of all optimizers."""
        self.first = self.first or step
        self.last = step

    def weight_norms(self) -> list[WeightNorms]:
        """Return the norms of the weights, as far as they are kept, segment after segment."""
        recorder = self.recorder
        now = None if recorder is None or not recorder.has_stepped else recorder.weight_norms()
        return self._finished_norms if now is None else [*self._finished_norms, now]

    def settled_traces(self, also_in: Mapping[int, str]) -> list[OptimizerTrace]:
        """Return what `traces` does, after no optimizer will use anything of the last step any more."""
        if self.recorder is not None:
            self.recorder.provenance.usage.settle()
        return self.traces(also_in)

    def traces(self, also_in: Mapping[int, str]) -> list[OptimizerTrace]:
        """Return the segments that have steps; schedulers go on over all, and are those of the first.

        Args:
            also_in: the name of another optimizer that has a parameter too, by the parameter's id.
        """
        segments = list(self._finished)
        if self.recorder is not None and self.recorder.has_stepped:
            segments.append(self.recorder.trace(also_in))
        shared = self._shares_with
        if segments:
            segments[0] = replace(
                segments[0],
                scheduling=self.learning_rates.scheduling,
                follows=self._name_if_over(self._predecessor),
                takes_over=self._name_if_over(self._mover),
                shares_state=None if shared is None else SharedState(shared.name, self._shared_since),
                unloaded=self._unloaded,
                lr_events=self.learning_rates.events,
            )
        return segments

    def finish(self, also_in: Mapping[int, str]) -> None:
        """Keep what was recorded so far, and end the segment."""
        if self.recorder is not None:
            self._left = self.recorder.continuity.left
        self._finished, self._finished_norms = self.settled_traces(also_in), self.weight_norms()
        self.recorder = None

    def give_up(self, also_in: Mapping[int, str]) -> None:
        """Keep what was recorded so far, as far as it can be read, and monitor it no longer."""
        for _ in range(2):  # what cannot be read is gone after the first
            with suppress(Exception):
                self.finish(also_in)
                break
        self.recorder = None
        self.let_go()

    def let_go(self) -> None:
        """Let its parameters go."""
        with suppress(AttributeError):
            del self.provenance

    def steps_in_turn_with(self, other: TrackedOptimizer) -> bool:
        """Return whether it and another take steps at the same time, and neither is in the other."""
        return (
            self is not other
            and other.name not in self.wrapped
            and self.name not in other.wrapped
            and 0 < self.first < other.last
            and 0 < other.first < self.last
        )

    def _name_if_over(self, before: TrackedOptimizer | None) -> str:
        """Return the name of an optimizer that took no step since this one's first; empty of another."""
        return before.name if before is not None and before.last < self.first else ""
