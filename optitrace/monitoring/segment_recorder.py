"""Records the steps of one optimizer over one set of parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import Any, Protocol

import torch
from torch.optim import Optimizer

from optitrace.errors import printable
from optitrace.monitoring.backward_tracker import Backward
from optitrace.monitoring.clipping_tracker import ClippingCall, ClippingTracker
from optitrace.monitoring.grad_scaler import FOUND_INF, SCALE, told_by_scaler
from optitrace.monitoring.gradient_provenance import GradientProvenance
from optitrace.monitoring.param_groups import hyperparameters_of
from optitrace.monitoring.parameter_set import ParameterSet
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.row_recorder import Row, RowRecorder
from optitrace.monitoring.step_metrics import VALUES, StepMetrics
from optitrace.monitoring.step_statistics import EACH, STATE, StepStatistics
from optitrace.monitoring.weight_norms import WeightNorms, WeightRecord
from optitrace.monitoring.weight_selectors import Watched
from optitrace.records.training import OptimizerTrace


class Probe(Protocol):
    """Something else that looks at each step of an optimizer, under `torch.no_grad`."""

    def before(self) -> None:
        """Look at weights and state before a step."""

    def during(self) -> None:
        """Look at the gradient that the step uses."""

    def after(self) -> None:
        """Look at what the step made."""


class SegmentRecorder:
    """Watches the steps of one optimizer, over the same parameters all the time.

    Attributes:
        name: what it is called.
        history: where its gradients come from.
        members: its parameters.
        groups: its parameter groups, as they are now.
        probe: what else looks at its steps, if anything does.
        is_in_scaler: whether a GradScaler is about to step it.
        is_in_step: whether a step has begun that is not done; if it fails, the next one has its number.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        name: str,
        history: GradientProvenance,
        members: ParameterSet,
        wish: RecordingConfig,
        *,
        values: Sequence[Watched] = (),
        keeps_weight_norms: bool = False,
        taken: int = 0,
    ) -> None:
        """Begin to watch, before the first step.

        Args:
            optimizer: the optimizer.
            name: what it is called.
            history: of its gradients so far.
            members: its parameters.
            wish: what to record.
            values: the weights that are recorded themselves.
            keeps_weight_norms: whether to keep the norms of each parameter's weights beside the record.
            taken: how many steps it has taken already.
        """
        self.name = name
        self.history = history
        self.is_in_scaler = False
        self.is_in_step = False
        self.probe: Probe | None = None
        self.members = members
        self.groups = optimizer.param_groups
        self._state = optimizer.state
        self._optimizer_class = type(optimizer)
        self._wish = wish
        self._step = self._taken_before = taken
        parameters = members.parameters
        self._measurement = StepMetrics(parameters, wish, values)
        self._weights = WeightRecord(parameters, taken=taken) if keeps_weight_norms else None
        self._facts = StepStatistics(members.names, by_parameter=wish.parameters, state=wish.state)
        self._recording = RowRecorder(self._read)
        self._hyperparameters = hyperparameters_of(optimizer)
        self._records = False
        self._kind = ""
        self._parts: Mapping[str, Sequence[int]] = {}
        self._moved: dict[int, bool] = {}
        self._row: Row = {}
        self._clippings = ClippingTracker(members)
        self._has_looked = self._is_remembered = False

    def has_changed(self, optimizer: Optimizer) -> bool:
        """Return whether the optimizer has other parameters now, or they have other shapes."""
        if not self.members.are_those_of(optimizer):
            return True
        return self._wish.takes(self.taken + 1) and not self.members.have_their_shapes()

    def follow(self, optimizer: Optimizer) -> None:
        """Look at the groups and the state that the optimizer has now: load_state_dict puts others there."""
        self.groups, self._state = optimizer.param_groups, optimizer.state

    @property
    def taken(self) -> int:
        """How many steps it took."""
        return self._step - self.is_in_step

    @property
    def rows(self) -> int:
        """How many steps it has recorded."""
        return self._recording.rows

    @property
    def has_stepped(self) -> bool:
        """Whether it took a step since it is watched."""
        return self.taken > self._taken_before

    @property
    def unmeasured(self) -> Mapping[str, str]:
        """The entries of the state that cannot be measured though they are wanted, and why; it grows."""
        return self._measurement.unmeasured

    def before_step(self) -> None:
        """Record the weights before a step."""
        self._begin_step()
        if self.probe is not None:
            with torch.no_grad():
                self.probe.before()

    def before_closure(self) -> None:
        """Keep the weights before a closure that is yet to find the gradient, and may move them."""
        if self._records:
            self._measurement.remember()
            self._is_remembered = True

    def after_closure(self) -> None:
        """Record the gradient that a closure has left, the first time in a step."""
        if self.is_in_step and not self._has_looked:
            self.look_at_gradient()

    def look_at_gradient(self, kind: str = "") -> None:
        """Record the gradient that a step is about to use.

        Args:
            kind: which of the kinds it is, if that is known already.
        """
        self._has_looked = True
        is_asked = not kind
        kind = kind or self.history.kind()
        self._parts = self.history.parts if is_asked else {}
        if kind == "scaled" and self.is_in_scaler:
            kind = "fresh"
        self._kind = kind
        unclipped = self._clippings.used_by(self._step, kind, self.history.mark_of_step())
        if self._records:
            look = self._measurement.used if self._is_remembered else self._measurement.begin
            self._row = look(kind, self.history, self.groups)
            if unclipped is not None:
                self._row["unclipped_gradient_norm"] = unclipped
        if self.probe is not None:
            with torch.no_grad():
                self.probe.during()

    def after_step(self, optimizer: Optimizer) -> None:
        """Record what a step made."""
        if not self._has_looked:
            self.look_at_gradient()
        self._end_step()
        if self._records:
            for name in (FOUND_INF, SCALE):
                if (told := told_by_scaler(optimizer, name)) is not None:
                    self._row[name] = told
            self._record(optimizer)
        if self.probe is not None:
            with torch.no_grad():
                self.probe.after()
        self.history.stepped()

    def skip(self) -> None:
        """Record a step that was left out."""
        self._begin_step()
        self.look_at_gradient("skipped")
        self._end_step()
        if self._records:
            self._record(None)
        self.history.stepped()

    def before_clipping(
        self,
        call: ClippingCall,
        parameters: Collection[int],
        underway: Backward | None,
        scale: Callable[[], float | None],
    ) -> None:
        """Record that gradients are about to be clipped, for the step to come.

        Args:
            call: the clipping.
            parameters: the ids of those that it clips.
            underway: the backward that goes on, if one does.
            scale: returns what a GradScaler multiplies losses by, and may wait for a device.
        """
        is_in_closure = self.is_in_step and not self._has_looked
        is_recorded = self._wish.takes(self._step if is_in_closure else self._step + 1)
        mark = self.history.before_clipping(underway)
        if not call.limit < inf:  # nothing is cut
            return
        if mark.is_scaled and self._clippings.scale is None:
            self._clippings.scale = scale()
        self._clippings.add(call, parameters, mark, self._measurement.gradient if is_recorded else None)

    def after_clipping(self) -> None:
        """Record that they were clipped."""
        self.history.after_clipping()

    def trace(self, also_in: Mapping[int, str]) -> OptimizerTrace:
        """Return what was recorded so far; of what schedulers did, it knows nothing.

        Args:
            also_in: the name of another optimizer that has a parameter too, by the parameter's id.
        """
        steps, columns = self._recording.whole()

        def part(prefix: str) -> dict[str, Any]:
            return {n.removeprefix(prefix): c for n, c in columns.items() if n.startswith(prefix)}

        prefixes = (STATE, VALUES, EACH)
        return OptimizerTrace(
            name=self.name,
            class_path=printable(f"{self._optimizer_class.__module__}.{self._optimizer_class.__qualname__}"),
            hyperparameters=self._hyperparameters,
            parameters=self.members.described(self.history.ungraded, also_in),
            taken=self.taken,
            steps=steps,
            columns={n: c for n, c in columns.items() if not n.startswith(prefixes)},
            by_parameter=part(EACH),
            state=part(STATE),
            values=part(VALUES),
            gradients=self._facts.gradients,
            cases=self._facts.cases({place for place, is_moved in self._moved.items() if is_moved}),
            clippings=self._clippings.tallies(),
            non_finite=self._facts.non_finite,
            lost=tuple(self._facts.lost),
        )

    def weight_norms(self) -> WeightNorms | None:
        """Return the norms of each parameter's weights so far; None if they are not kept."""
        self._recording.read()
        if self._weights is None:
            return None
        return self._weights.norms(self.name, self.members.names, self.taken)

    def _read(self, step: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at the values of a recorded step once they are read; return those that are to be recorded."""
        if self._weights is not None:
            self._weights.add(step, row["weight_norm"])
        return self._facts.judge(step, row)

    def _begin_step(self) -> None:
        self._step += not self.is_in_step
        self.is_in_step = True
        self._has_looked = self._is_remembered = False
        self._records = self._wish.takes(self._step)

    def _end_step(self) -> None:
        self.is_in_step = False
        self._facts.used(self._kind, self._step)
        if self._kind == "cleared":
            self._facts.had("cleared", self.history.cleared_by, self._step)
        for kind, places in self._parts.items():
            frozen = {k for k in places if kind == "stale" and not self.members.parameters[k].requires_grad}
            self._facts.had(kind, "frozen", self._step, frozen)
            self._facts.had(kind, "", self._step, (k for k in places if k not in frozen))

    def _record(self, optimizer: Optimizer | None) -> None:
        """Record a step of an optimizer; None if it left the step out, and so broke nothing."""
        self._measurement.made(self._row, self._state, self._recording.rows + 1)
        if optimizer is not None and self._measurement.has_broken(self._row):
            self._facts.broke(self._step, self._measurement.why_broken(optimizer, self._step))
        for place in self._parts.get("stale", ()):
            if place not in self._moved:  # read once: it may wait for a device
                self._moved[place] = self._measurement.is_moved(place)
        self._recording.add(self._step, self._row)
