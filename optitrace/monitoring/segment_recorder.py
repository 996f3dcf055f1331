"""Records the steps of one optimizer over one set of parameters: a segment of its trace."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf, nan
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.errors import printable
from optitrace.monitoring.backward_tracker import (
    FOUND_INF,
    SCALE,
    BackwardTracker,
    Loss,
    from_scaler,
    loss_value,
)
from optitrace.monitoring.clipping import ClippingCall, ClippingTracker
from optitrace.monitoring.continuity import ContinuityTracker
from optitrace.monitoring.gradient_provenance import GradientProvenance
from optitrace.monitoring.norms import Norm, WeightNorms, WeightRecord
from optitrace.monitoring.parameters import ParameterSet, hyperparameters_of, storage_of
from optitrace.monitoring.recording_config import RecordingConfig, SelectedWeights, is_inspected
from optitrace.monitoring.row_recorder import Row, RowRecorder, Value
from optitrace.monitoring.step_counters import CounterTracker
from optitrace.monitoring.step_metrics import EACH, STATE, VALUES, StepMetrics, StepStatistics
from optitrace.monitoring.term_effects import TermEffectTracker
from optitrace.monitoring.update_rule import explain_break
from optitrace.records.training import NUMBERS, WITHOUT_LOSS, GroupStorage, OptimizerTrace


class Probe(Protocol):
    """Looks at each step of an optimizer, too, under `torch.no_grad`."""

    def before(self) -> None:
        """Look at weights and state before a step."""

    def during(self) -> None:
        """Look at the gradient that the step uses."""

    def after(self) -> None:
        """Look at what the step made."""


class SegmentRecorder:
    """Records the steps of one optimizer, over the same parameters all the time.

    Attributes:
        name: what it is called.
        provenance: where its gradients come from.
        members: its parameters.
        continuity: what the program changes of weights and state between its steps.
        probe: what else looks at its steps, if anything does.
        is_in_scaler: whether a GradScaler is about to step it.
        is_in_step: whether a step has begun that is not done; if it fails, the next one has its number.
        is_recorded: whether the step that has begun, or else the last one, is recorded.
        unmeasured: the entries of the state that cannot be measured though they are wanted, and why.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        name: str,
        provenance: GradientProvenance,
        members: ParameterSet,
        config: RecordingConfig,
        *,
        weights: Sequence[SelectedWeights] = (),
        keeps_weight_norms: bool = False,
        taken: int = 0,
    ) -> None:
        """Begin to record, before the first step.

        Args:
            optimizer: the optimizer.
            name: what it is called.
            provenance: of its gradients so far.
            members: its parameters.
            config: what to record.
            weights: the weights that are recorded themselves.
            keeps_weight_norms: whether to keep the norms of each parameter's weights beside the record.
            taken: how many steps it has taken already.
        """
        self.name = name
        self.provenance = provenance
        self.members = members
        self.continuity = ContinuityTracker(members.parameters, members.names)
        provenance.usage.read_weights = self.continuity.read_weights
        self.probe: Probe | None = None
        self.is_in_scaler = self.is_in_step = False
        self._class = type(optimizer)
        self._hyperparameters = hyperparameters_of(optimizer)
        self._config = config
        self._step = self._taken_before = taken
        by_parameter = config.parameters or keeps_weight_norms
        self._metrics = StepMetrics(members.parameters, config, weights, by_parameter=by_parameter)
        self._statistics = StepStatistics(members.names, by_parameter=config.parameters, state=config.state)
        self._clippings = ClippingTracker(members)
        self._effects = TermEffectTracker(optimizer, members)
        self._counters = CounterTracker(members.parameters, members.names)
        self._rows = RowRecorder(self._read)
        self._weights = WeightRecord(members.parameters, taken=taken) if keeps_weight_norms else None
        self.unmeasured: Mapping[str, str] = self._metrics.unmeasured
        self._frozen = [not p.requires_grad for p in members.parameters]
        self._storage: tuple[GroupStorage, ...] = ()
        self._clock = StepClock()
        # of the step that goes on
        self.is_recorded = self._is_inspected = self._has_looked = self._is_remembered = False
        self._kind = ""
        self._parts: Mapping[str, Sequence[int]] = {}
        self._row: Row = {}
        self._losses: list[Loss] = []
        self._moved: dict[int, bool] = {}

    @property
    def taken(self) -> int:
        """How many steps it took."""
        return self._step - self.is_in_step

    @property
    def rows(self) -> int:
        """How many steps it has recorded."""
        return self._rows.rows

    @property
    def has_stepped(self) -> bool:
        """Whether it took a step since this began."""
        return self.taken > self._taken_before

    def has_changed(self, optimizer: Optimizer) -> bool:
        """Return whether the optimizer has other parameters now, or they have other shapes."""
        if not self.members.are_those_of(optimizer):
            return True
        return self._config.takes(self.taken + 1) and not self.members.have_their_shapes()

    def before_step(self, optimizer: Optimizer, *, has_closure: bool) -> None:
        """Record what a step begins with; a closure is yet to find the gradient, and may move the weights."""
        self._begin_step()
        self.continuity.before_step(self._step, optimizer.state)
        self._counters.before_step(optimizer.state, is_inspected=self._is_inspected)
        self._effects.before_step(is_inspected=self._is_inspected)
        if self.probe is not None:
            with torch.no_grad():
                self.probe.before()
        if not has_closure:
            self._look_at_gradient(optimizer)
        elif self.is_recorded:
            self._metrics.remember()
            self._is_remembered = True

    def after_closure(self, optimizer: Optimizer, loss: Any) -> None:
        """Record the loss of a closure, and the gradient that it has left the first time in a step."""
        self.provenance.usage.evaluated()
        if self.is_recorded:
            self._losses.append(loss_value(loss) if isinstance(loss, Tensor | float | int) else nan)
        if self.is_in_step and not self._has_looked:
            self._look_at_gradient(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        """Record what a step made."""
        if not self._has_looked:
            self._look_at_gradient(optimizer)
        self._end_step()
        if self.is_recorded:
            for name in (FOUND_INF, SCALE):
                if (passed := from_scaler(optimizer, name)) is not None:
                    self._row[name] = passed
            self._record(optimizer)
        if self.probe is not None:
            with torch.no_grad():
                self.probe.after()
        self._effects.after_step(self._step)
        self._counters.after_step(self._step, optimizer.state)
        self.provenance.stepped(self._step)
        self.continuity.after_step(optimizer.state, is_next_recorded=self._config.takes(self._step + 1))

    def skip(self, optimizer: Optimizer) -> None:
        """Record a step that was left out."""
        self._begin_step()
        self._look_at_gradient(optimizer, is_skipped=True)
        self._end_step()
        if self.is_recorded:
            self._record(optimizer, is_skipped=True)
        self.provenance.stepped(self._step)

    def before_clipping(
        self, call: ClippingCall, parameters: Collection[int], backwards: BackwardTracker
    ) -> None:
        """Record that the gradients of some parameters, by their ids, are about to be clipped."""
        is_in_closure = self.is_in_step and not self._has_looked
        is_recorded = self._config.takes(self._step if is_in_closure else self._step + 1)
        mark = self.provenance.before_clipping(backwards.underway)
        if not call.limit < inf:  # nothing is cut
            return
        if mark.is_scaled and self._clippings.scale is None:
            self._clippings.scale = backwards.scale()
        self._clippings.add(call, parameters, mark, self._metrics.gradient_norm if is_recorded else None)

    def trace(self, also_in: Mapping[int, str]) -> OptimizerTrace:
        """Return what was recorded so far; of what schedulers did, it knows nothing.

        Args:
            also_in: the name of another optimizer that has a parameter too, by the parameter's id.
        """
        steps, columns = self._rows.whole()

        def part(prefix: str) -> dict[str, Any]:
            return {n.removeprefix(prefix): c for n, c in columns.items() if n.startswith(prefix)}

        prefixes, usage = (STATE, VALUES, EACH), self.provenance.usage
        return OptimizerTrace(
            name=self.name,
            class_path=printable(f"{self._class.__module__}.{self._class.__qualname__}"),
            hyperparameters=self._hyperparameters,
            parameters=self.members.described(self.provenance.ungraded, also_in, self._statistics.movements),
            taken=self.taken,
            steps=steps,
            columns={n: c for n, c in columns.items() if not n.startswith(prefixes)},
            by_parameter=part(EACH),
            state=part(STATE),
            values=part(VALUES),
            gradients=self._statistics.gradients,
            cases=self._statistics.cases({place for place, is_moved in self._moved.items() if is_moved}),
            clippings=self._clippings.tallies(),
            non_finite=self._statistics.non_finite,
            lost=tuple(self._statistics.lost),
            changes=self.continuity.changes,
            backwards=usage.counts(),
            mixed=usage.mixed,
            undivided=usage.undivided,
            uncleared=usage.uncleared,
            unused_backwards=usage.unused,
            storage=self._storage,
            seconds_per_step=self._clock.seconds_per_step,
            effects=self._effects.effects,
            stuck=self._effects.stuck,
            stalled=self._counters.stalled,
        )

    def weight_norms(self) -> WeightNorms | None:
        """Return the norms of each parameter's weights so far; None if they are not kept."""
        self._rows.read()
        if self._weights is None:
            return None
        return self._weights.norms(self.name, self.members.names, self.taken)

    def _read(self, step: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at the values of a recorded step once they are read; return those that are to be kept."""
        if self._weights is not None:
            norm: Norm | list[float] = row["weight_norm"]
            self._weights.add(step, (norm.each or ()) if isinstance(norm, Norm) else norm)
        return self._statistics.judge(step, row)

    def _begin_step(self) -> None:
        self._step += not self.is_in_step
        self.is_in_step = True
        self._has_looked = self._is_remembered = False
        self._losses = []
        self.is_recorded = self._config.takes(self._step)
        self._is_inspected = self.is_recorded and is_inspected(self._rows.rows + 1)

    def _look_at_gradient(self, optimizer: Optimizer, *, is_skipped: bool = False) -> None:
        """Record the gradient that a step is about to use."""
        self._has_looked = True
        provenance = self.provenance
        kind = "skipped" if is_skipped else provenance.kind()
        self._parts = {} if is_skipped else provenance.parts
        self._kind = "fresh" if kind == "scaled" and self.is_in_scaler else kind
        unclipped = self._clippings.used_by(self._step, self._kind, provenance.mark_of_step)
        if self.is_recorded:
            if not self._is_remembered:
                self._metrics.remember()
            row: Row = {"loss": nan if self._kind in WITHOUT_LOSS else provenance.loss()}
            if (lr := _lr(optimizer.param_groups)) is not None:
                row["lr"] = lr
            row["gradient_norm"] = self._metrics.gradient_norm()
            row["gradient"] = NUMBERS[self._kind]
            row["backwards"] = float(provenance.usage.unused)
            if unclipped is not None:
                row["unclipped_gradient_norm"] = unclipped
            self._row = row
        self._effects.during_step()
        if self.probe is not None:
            with torch.no_grad():
                self.probe.during()

    def _end_step(self) -> None:
        self.is_in_step = False
        self._clock.stepped()
        self._statistics.used(self._kind, self._step)
        if self._kind == "cleared":
            self._statistics.had("cleared", self.provenance.cleared_by, self._step)
        for kind, places in self._parts.items():
            frozen = {k for k in places if kind == "stale" and not self.members.parameters[k].requires_grad}
            self._statistics.had(kind, "frozen", self._step, frozen)
            self._statistics.had(kind, "", self._step, (k for k in places if k not in frozen))

    def _record(self, optimizer: Optimizer, *, is_skipped: bool = False) -> None:
        metrics = self._metrics
        frozen = [not p.requires_grad for p in self.members.parameters]
        is_deep = is_inspected(self._rows.rows + 1) or frozen != self._frozen
        self._frozen = frozen
        if is_deep:
            self._storage = storage_of(optimizer)
        if len(self._losses) > 1:
            self._row |= _evaluated(self._losses)
        metrics.measure(self._row, optimizer.state, is_deep=is_deep, is_skipped=is_skipped)
        if metrics.is_broken:
            with torch.no_grad():
                why = explain_break(optimizer, self.members.parameters, metrics.before, self._step)
            self._statistics.broke(self._step, why)
        for place in self._parts.get("stale", ()):
            if place not in self._moved:  # read once: it may wait for a device
                self._moved[place] = metrics.is_moved(place)
        self._rows.add(self._step, self._row)


class StepClock:
    """Measures the time from the end of one step to that of the next."""

    def __init__(self) -> None:
        """Begin before the first step."""
        self._steps = 0
        self._first = self._last = 0.0

    def stepped(self) -> None:
        """Count a step that ends now."""
        self._last = perf_counter()
        if not self._steps:
            self._first = self._last
        self._steps += 1

    @property
    def seconds_per_step(self) -> float | None:
        """The mean time, in seconds; None if there are not two steps."""
        return (self._last - self._first) / (self._steps - 1) if self._steps > 1 else None


MakeProbe = Callable[[Optimizer, SegmentRecorder], Probe | None]
"""Makes what else looks at the steps of an optimizer, before its first; None if nothing does."""


def _evaluated(losses: Sequence[Loss]) -> Row:
    """Return what a step that called its closure several times has beside others."""
    last = losses[-1]
    tensors = [torch.as_tensor(loss, dtype=torch.float64) for loss in losses]
    device = next((loss.device for loss in losses if isinstance(loss, Tensor)), tensors[0].device)
    largest = torch.stack([tensor.to(device) for tensor in tensors]).amax()
    return {"evaluations": float(len(losses)), "largest_loss": largest, "last_loss": last}


def _lr(groups: Sequence[Mapping[str, Any]]) -> Value:
    """Return the lr, or that of each group; a tensor stays where it is. None if there is no number."""
    lrs: list[Any] = [group["lr"] for group in groups if hasattr(group.get("lr"), "__float__")]
    if not lrs:
        return None
    if tensors := [lr for lr in lrs if isinstance(lr, Tensor)]:
        device = tensors[0].device
        with torch.no_grad():
            lines = [torch.as_tensor(lr, dtype=torch.float64).to(device).reshape(()) for lr in lrs]
            return torch.stack(lines) if len(lines) > 1 else lines[0].clone()
    return float(lrs[0]) if len(lrs) == 1 else [float(lr) for lr in lrs]
