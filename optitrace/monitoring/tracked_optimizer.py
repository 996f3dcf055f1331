"""State kept about one optimizer, from its construction until after it is collected."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from torch.optim import Optimizer

from optitrace.monitoring.backward_tracker import Backward
from optitrace.monitoring.gradient_provenance import GradientProvenance
from optitrace.monitoring.param_groups import parameters_of
from optitrace.monitoring.segment_recorder import SegmentRecorder
from optitrace.monitoring.weight_norms import WeightNorms
from optitrace.records.training import OptimizerTrace, Scheduling


class TrackedOptimizer:
    """What is known of one optimizer: alive or, once it is gone, what is left of it.

    Where it is given other parameters on the way, what was seen is in parts, each over parameters of its own.

    Attributes:
        name: what it is called.
        optimizer: the optimizer, as long as it lives.
        history: where its gradients come from; gone with the optimizer, or as soon as it is given up.
        watched: what watches its steps now; None before the first, and after it is gone or given up.
        wrapped: the names of the optimizers in it, whose steps and parameters are then its own, too.
        first: its first step among those of all optimizers; 0 if it took none.
        last: its last one among them.
        has_models: whether any module is known to have parameters of it.
        looked_at: the recorded step, by its number among those, after which others of theirs were looked for.
        variable: the name that the program gave to it when it was made; empty if none is known.
    """

    def __init__(self, optimizer: Optimizer, name: str, heard: Backward | None) -> None:
        """Track an optimizer.

        Args:
            optimizer: the optimizer.
            name: what to call it.
            heard: where its gradients come from if it has any already.
        """
        self.name = name
        self.optimizer = weakref.ref(optimizer)
        self.history = GradientProvenance(parameters_of(optimizer), heard)
        self.watched: SegmentRecorder | None = None
        self.wrapped: set[str] = set()
        self.first = self.last = self.looked_at = 0
        self.has_models = False
        self.variable = ""
        self._scheduling: Scheduling | None = None
        self._finished: list[OptimizerTrace] = []
        self._finished_norms: list[WeightNorms] = []

    @property
    def taken(self) -> int:
        """How many steps it took, as far as it was watched."""
        if self.watched is not None:
            return self.watched.taken
        return self._finished[-1].taken if self._finished else 0

    @property
    def part_name(self) -> str:
        """What the part is called that begins with the next step."""
        return f"{self.name}, from step {self.taken + 1} on" if self.taken else self.name

    @property
    def parameters(self) -> Sequence[str]:
        """The names of its parameters, as far as it was watched."""
        if self.watched is not None:
            return self.watched.members.names
        return [p.name for p in self._finished[-1].parameters] if self._finished else []

    def weight_norms(self) -> list[WeightNorms]:
        """Return the norms of the weights, as far as they are kept, of each part."""
        now = None if self.watched is None or not self.watched.has_stepped else self.watched.weight_norms()
        return self._finished_norms if now is None else [*self._finished_norms, now]

    def traces(self, also_in: Mapping[int, str]) -> list[OptimizerTrace]:
        """Return what was recorded, part after part; schedulers go on over all, and stand with the first.

        One that has no step is none.

        Args:
            also_in: the name of another optimizer that has a parameter too, by the parameter's id.
        """
        parts = list(self._finished)
        if self.watched is not None and self.watched.has_stepped:
            parts.append(self.watched.trace(also_in))
        if self._scheduling is not None:
            parts[:1] = [replace(part, scheduling=self._scheduling) for part in parts[:1]]
        return parts

    def count(self, step: int) -> None:
        """Count a step, by its number among those of all optimizers."""
        self.first = self.first or step
        self.last = step

    def finish(self, also_in: Mapping[int, str]) -> None:
        """Keep what was recorded so far, and watch its parameters no longer."""
        self._finished, self._finished_norms = self.traces(also_in), self.weight_norms()
        self.watched = None

    def give_up(self, also_in: Mapping[int, str]) -> None:
        """Keep what was recorded so far, as far as it can be read, and watch it no longer."""
        for _ in range(2):  # what cannot be read is gone after the first
            with suppress(Exception):
                self.finish(also_in)
                break
        self.watched = None
        self.let_go()

    def let_go(self) -> None:
        """Let its parameters go."""
        with suppress(AttributeError):
            del self.history

    def scheduler_made(self, scheduler: str) -> None:
        """Record a scheduler of this class."""
        before = self._scheduling or Scheduling(())
        self._scheduling = replace(before, schedulers=(*before.schedulers, scheduler))

    def scheduler_stepped(self, scheduler: str) -> None:
        """Count the step of a scheduler of this class, which may have been made before it was watched."""
        before = self._scheduling or Scheduling((scheduler,))
        early = before.early + (not self.taken)
        self._scheduling = replace(before, steps=before.steps + 1, early=early)

    def steps_in_turn_with(self, other: TrackedOptimizer) -> bool:
        """Return whether it and another take steps at the same time, and neither is in the other."""
        return (
            self is not other
            and other.name not in self.wrapped
            and self.name not in other.wrapped
            and 0 < self.first < other.last
            and 0 < other.first < self.last
        )
