"""Metrics of each recorded step, and statistics over all steps that are not columns.

The metrics are norms of gradients, updates and weights, each parameter by itself; in steps that are
inspected, those of the state, and how many updates were lost in rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite, nan
from typing import Any

import torch
from torch import Tensor

from optitrace.experiment.user_module import reason
from optitrace.monitoring.backward_tracker import FOUND_INF, SCALE
from optitrace.monitoring.norms import Norm, NormMeter, norms, total
from optitrace.monitoring.parameters import shown_name
from optitrace.monitoring.recording_config import RecordingConfig, SelectedWeights
from optitrace.monitoring.row_recorder import Row, Value, ratio
from optitrace.monitoring.tensor_values import has_numbers, is_sharded, local, numbers
from optitrace.monitoring.torch_internals import foreach_copy_, foreach_sub_
from optitrace.records.training import (
    KINDS,
    NUMBERS,
    OF_A_PARAMETER,
    WITHOUT_LOSS,
    GradientCase,
    LostUpdate,
    Movement,
    NonFinite,
    Tally,
    one_more,
)
from optitrace.rules.breakdown import Breakdown

STATE = "state "
"""The prefix of the columns of the state."""

EACH = "each "
"""The prefix of the columns that have a value for each parameter."""

VALUES = "values "
"""The prefix of the columns of single weights."""

LOST = "lost"
"""The name of the four numbers of each parameter that `_lost_updates` counts."""

PRESENCE, FROZEN = 1, 2
"""That a parameter has a gradient, be it zero, and that it asks for none; the sum says both."""

_NORMS = ("gradient_norm", "unclipped_gradient_norm", "update_norm", "weight_norm")


class StepMetrics:
    """Measures the steps of one optimizer, each parameter by itself. Nothing of it waits for an accelerator.

    Attributes:
        parameters: those that the optimizer moves.
        unmeasured: the entries of the state that cannot be measured though they are wanted, and why.
        is_broken: whether the last step is the first that left a number that is not finite.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        config: RecordingConfig | None = None,
        weights: Sequence[SelectedWeights] = (),
        *,
        by_parameter: bool = True,
    ) -> None:
        """Measure nothing yet.

        Args:
            parameters: those that the optimizer moves.
            config: what to record.
            weights: the weights that are recorded themselves.
            by_parameter: whether to measure each parameter, beside all together.
        """
        self.unmeasured: dict[str, str] = {}
        self.is_broken = self._was_broken = False
        self.parameters = parameters
        self._device = parameters[0].device
        self._is_on_host = all(p.is_cpu for p in parameters)
        self._keeps_state = config is not None and config.state
        self._weights = weights
        self._meter: NormMeter | None = None
        if self._is_on_host and not any(p.is_complex() for p in parameters):
            self._meter = NormMeter([p.shape for p in parameters], by_tensor=by_parameter)
        self._changes: list[Tensor] = []
        self._before: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Keep the weights as they are before a step."""
        weights = [numbers(p) for p in self.parameters]
        if list(map(_kind, weights)) == list(map(_kind, self._changes)):
            foreach_copy_(self._changes, weights)  # memory that is there already
        else:
            self._changes = [one.clone() for one in weights]

    @torch.no_grad()
    def gradient_norm(self) -> Norm | Tensor:
        """Return the norm of the gradients, 0 of a parameter that has none."""
        return self._norm([None if p.grad is None else numbers(p.grad) for p in self.parameters])

    @torch.no_grad()
    def moved(self, *, keeps: bool = False) -> tuple[Norm | Tensor, Norm | Tensor]:
        """Return the norms of what the step changed of the parameters, and of the parameters after it.

        Args:
            keeps: whether to keep the weights before the step for `before` if those after it are not all
                finite; to know that, an accelerator is waited for.
        """
        weights = [numbers(p) for p in self.parameters]
        weight_norm = self._norm(weights)
        self.is_broken = keeps and not _is_finite(weight_norm)
        self._before = [before.clone() for before in self._changes] if self.is_broken else []
        foreach_sub_(self._changes, weights)
        return self._norm(self._changes), weight_norm

    def change(self, place: int) -> Tensor:
        """Return how a parameter was changed, once `moved` was called: weights before minus after."""
        return self._changes[place]

    def before(self, place: int) -> Tensor:
        """Return a parameter before the step, to within rounding if that was not kept."""
        return self._before[place] if self._before else self._changes[place] + local(self.parameters[place])

    def is_moved(self, place: int) -> bool:
        """Return whether the last step moved a parameter with a nonzero gradient; waits for a device."""
        gradient = self.parameters[place].grad
        return gradient is not None and has_numbers(gradient) and bool(local(self.change(place)).any())

    def measure(
        self, row: Row, state: Mapping[Tensor, Mapping[str, Any]], *, is_deep: bool, is_skipped: bool = False
    ) -> None:
        """Add to a row what its step made.

        Args:
            row: the values of the step so far.
            state: the optimizer's state as it is now.
            is_deep: whether it is inspected weight by weight.
            is_skipped: whether the step was left out, and so broke nothing.
        """
        waits = self._is_on_host or is_deep  # no other step may wait
        looks = waits and not (is_skipped or self._was_broken)
        row["update_norm"], row["weight_norm"] = self.moved(keeps=looks)
        if is_deep or self._keeps_state or self._weights:
            with torch.no_grad():
                entries = self._inspect(row, state, is_deep=is_deep)
            self.is_broken = self.is_broken or (looks and not all(map(_is_finite, entries)))
        self._was_broken = self._was_broken or self.is_broken

    def _inspect(self, row: Row, state: Mapping[Tensor, Mapping[str, Any]], *, is_deep: bool) -> list[Value]:
        """Add the state, the lost updates and single weights; return the norms of the state."""
        entries: Mapping[str, Value] = {}
        if self._keeps_state or is_deep:
            entries, unmeasured = self._state_norms(state)
            if self._keeps_state:
                self.unmeasured |= unmeasured
            row |= {f"{STATE}{shown_name(name)}": value for name, value in entries.items()}
        if is_deep:
            row[LOST] = self._lost_updates()
        for selected in self._weights:
            row[f"{VALUES}{selected.name}"] = self._weight(selected)
        return list(entries.values())

    def _norm(self, tensors: Sequence[Tensor | None]) -> Norm | Tensor:
        """Return the norm of tensors such as `numbers` returns, one for each parameter."""
        if self._meter is not None and self._meter.fits(tensors):
            return self._meter.norm(tensors)
        return norms(tensors, self._device)

    def _state_norms(
        self, state: Mapping[Tensor, Mapping[str, Any]]
    ) -> tuple[dict[str, Value], dict[str, str]]:
        """Return the norm of each state entry; of an entry of one number, that of the first parameter.

        What is no number is left out.

        Returns:
            The norms; and the entries that cannot be measured, and why: a tensor subclass need not do all
            that torch's own tensors do.
        """
        found: dict[str, Value] = {}
        unmeasured: dict[str, str] = {}
        entries = [state.get(p, {}) for p in self.parameters]
        for key in dict.fromkeys(key for entry in entries for key in entry):
            values = [entry.get(key) for entry in entries]
            first = next(value for value in values if value is not None)
            if isinstance(first, bool) or not isinstance(first, Tensor | int | float):
                continue
            try:
                found[str(key)] = self._state_norm(first, values)
            except Exception as error:
                if type(first) is Tensor:
                    raise
                unmeasured[str(key)] = reason(error)
        return found, unmeasured

    def _state_norm(self, first: Tensor | float, values: Sequence[Any]) -> Value:
        if not isinstance(first, Tensor):
            return float(first)
        tensors = [value if isinstance(value, Tensor) else None for value in values]
        if first.numel() == 1 and (first.ndim == 0 or _are_scalars(tensors, self.parameters)):
            number = first.detach().reshape(()).clone()  # the next step changes it in place
            return number.double() if self._device.type == "cpu" else number
        return self._norm([None if tensor is None else numbers(tensor) for tensor in tensors])

    def _lost_updates(self) -> Tensor:
        """Count the weights of each parameter that the step left as they were, and those that it moved.

        Returns:
            Shape (parameters, 4): how many have a gradient that is not zero and were not changed, how many
            have such a gradient, how many were changed without one, and what of `PRESENCE` the gradient is.
        """
        counts = []
        for place, parameter in enumerate(self.parameters):
            gradient, change = parameter.grad, local(self.change(place))
            if gradient is not None and gradient.layout is not torch.strided:
                counts.append(torch.zeros(4))
                continue
            is_moved = change != 0
            if gradient is None:
                lost = graded = torch.zeros((), device=change.device)
                moved = is_moved.count_nonzero()
            else:
                magnitude = local(gradient).abs()
                has_gradient = (magnitude > 0).logical_and_(magnitude < inf)
                lost, graded = (has_gradient & ~is_moved).count_nonzero(), has_gradient.count_nonzero()
                moved = (is_moved & (magnitude == 0)).count_nonzero()
            presence = PRESENCE if gradient is not None else 0
            presence += FROZEN if not parameter.requires_grad else 0
            counts.append(torch.stack([lost, graded, moved, torch.full_like(moved, presence)]))
        return torch.stack([count.to(self._device, torch.float64) for count in counts])

    def _weight(self, selected: SelectedWeights) -> Tensor:
        whole = self.parameters[selected.parameter].detach()
        if is_sharded(whole):  # the index is into the whole, which no process has
            whole = torch.full(whole.shape, nan)
        value = local(whole)[selected.index or ...]
        return value.clone() if value.ndim == 0 else value.reshape(-1).clone()


class StepStatistics:
    """Gathers the statistics, and turns the values of a step into those of its row.

    Attributes:
        lost: the steps in which updates were lost in rounding.
        movements: whether each parameter moves.
    """

    def __init__(self, names: Sequence[str], *, by_parameter: bool, state: bool) -> None:
        """Begin with no step.

        Args:
            names: of the parameters.
            by_parameter: whether the norms of each parameter are kept, too.
            state: whether those of the state are.
        """
        self.lost: list[LostUpdate] = []
        self.movements = [Movement()] * len(names)
        self._names = names
        self._by_parameter = by_parameter
        self._keeps_state = state
        self._is_clipping = False
        self._used: dict[str, int] = {}
        self._first_used: dict[str, int] = {}
        self._cases: dict[tuple[str, str, int | None], tuple[Tally, int]] = {}
        self._non_finite: dict[str, NonFinite] = {}
        self._broke: tuple[int, Breakdown | None] | None = None

    @property
    def gradients(self) -> dict[str, Tally]:
        """The kinds of gradients that steps have used, in the order in which they came."""
        return {kind: Tally(count, self._first_used[kind]) for kind, count in self._used.items()}

    @property
    def non_finite(self) -> tuple[NonFinite, ...]:
        """The first of each quantity that is not finite, in the order of the steps and within a step."""
        return tuple(sorted(self._non_finite.values(), key=lambda found: found.step))

    def cases(self, moved: Collection[int]) -> tuple[GradientCase, ...]:
        """Return the kinds that not all parameters have, or that have a cause: those alike as one.

        Args:
            moved: the places of the parameters that an old gradient has moved; that of others is no case.
        """
        alike: dict[tuple[str, str, Tally, int], list[str]] = {}
        for (kind, cause, place), (steps, last) in self._cases.items():
            if place is None:
                alike[kind, cause, steps, last] = []
            elif kind != "stale" or place in moved:
                alike.setdefault((kind, cause, steps, last), []).append(self._names[place])
        cases = (GradientCase(*case, tuple(names)) for case, names in alike.items())
        return tuple(sorted(cases, key=lambda case: case.steps.first))

    def broke(self, step: int, why: Breakdown | None) -> None:
        """Record the first step that left a number that is not finite, and why, if that is known."""
        self._broke = step, why

    def used(self, kind: str, step: int) -> None:
        """Count a step that used a gradient of a kind."""
        self._used[kind] = self._used.get(kind, 0) + 1
        if self._used[kind] == 1:
            self._first_used[kind] = step

    def had(self, kind: str, cause: str, step: int, places: Iterable[int | None] = (None,)) -> None:
        """Count a step in which parameters at some places had a kind of gradient; None stands for all."""
        for place in places:
            steps, _ = self._cases.get((kind, cause, place), (None, 0))
            self._cases[kind, cause, place] = one_more(steps, step), step

    def judge(self, step: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at the values of a recorded step; return those that are to be kept."""
        values = dict(row)
        if scale := values.get(SCALE):
            values["gradient_norm"] = _divided(values["gradient_norm"], scale)
        if values.get(FOUND_INF):
            self._skipped(step, values)
        states = [name for name in values if name.startswith(STATE)]
        each: dict[str, Sequence[float]] = {}
        for name in (*_NORMS, *states):
            norm = values.get(name)
            if isinstance(norm, list):
                norm = Norm(total(norm), norm)
            if isinstance(norm, Norm):
                values[name] = norm.whole
                if norm.each is not None:
                    each[name] = norm.each
        self._look(step, values, each, states)
        for name in (LOST, FOUND_INF, SCALE, *(() if self._keeps_state else states)):
            values.pop(name, None)
        self._is_clipping = self._is_clipping or "unclipped_gradient_norm" in values
        if self._is_clipping:  # where nothing was clipped, it is the same
            values.setdefault("unclipped_gradient_norm", values["gradient_norm"])
        values["update_ratio"] = ratio(values["update_norm"], values["weight_norm"])
        if self._by_parameter:
            values |= {f"{EACH}{name}": list(n) for name, n in each.items() if name in OF_A_PARAMETER}
            values[f"{EACH}update_ratio"] = list(map(ratio, each["update_norm"], each["weight_norm"]))
        return values

    def _skipped(self, step: int, values: dict[str, Any]) -> None:
        """Correct what was counted of a step that a fused optimizer turned out to have left out."""
        kind = KINDS[int(values["gradient"])]
        if (count := self._used.pop(kind) - 1) > 0:
            self._used[kind] = count
        self._first_used[kind] += self._first_used[kind] == step
        self.used("skipped", step)
        values["gradient"] = NUMBERS["skipped"]

    def _look(
        self,
        step: int,
        values: Mapping[str, Any],
        each: Mapping[str, Sequence[float]],
        states: Sequence[str],
    ) -> None:
        """Look for what is not finite, and for updates that were lost.

        Args:
            step: the step.
            values: of the step, norms being totals.
            each: the norms of the parameters, where a total was made of them.
            states: the names of the values that are the state's.
        """
        kind = KINDS[int(values["gradient"])]
        if kind != "skipped":
            if kind not in WITHOUT_LOSS and not isfinite(values["loss"]):
                self._found("loss", step, None)
            self._look_at("gradient", step, values["gradient_norm"], each.get("gradient_norm"))
        for name in states:
            self._look_at(name.removeprefix(STATE), step, values[name], each.get(name))
        self._look_at("weights", step, values["weight_norm"], each.get("weight_norm"))
        if LOST in values and kind not in ("skipped", "none"):
            counts = [tuple(map(int, values[LOST][k : k + 4])) for k in range(0, len(values[LOST]), 4)]
            if lost := sum(count[0] for count in counts):
                self.lost.append(LostUpdate(step, lost, sum(count[1] for count in counts)))
            for place, count in enumerate(counts):
                self.movements[place] = _moved_on(self.movements[place], step, *count)

    def _look_at(self, quantity: str, step: int, norm: float, each: Sequence[float] | None) -> None:
        if isfinite(norm):
            return
        parameters = [k for k, one in enumerate(each) if not isfinite(one)] if each is not None else [0]
        if parameters:  # else the total alone is too large for a number
            self._found(quantity, step, self._names[parameters[0]])

    def _found(self, quantity: str, step: int, parameter: str | None) -> None:
        why = None
        if self._broke is not None and self._broke[0] == step and quantity not in ("loss", "gradient"):
            why = self._broke[1]
        cause, remedy = (why.cause, why.remedy) if why is not None else ("", "")
        self._non_finite.setdefault(quantity, NonFinite(quantity, step, parameter, cause, remedy))


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _moved_on(movement: Movement, step: int, lost: int, graded: int, moved: int, presence: int) -> Movement:
    """Return what is known of a parameter's movement after one inspected step more."""
    if graded:
        still = movement.still + (lost == graded)
        return replace(movement, graded=one_more(movement.graded, step), still=still)
    if presence & PRESENCE:
        movement = replace(movement, zero=one_more(movement.zero, step))
    if moved:
        movement = replace(movement, drifts=one_more(movement.drifts, step))
        if presence & FROZEN:
            movement = replace(movement, frozen_drifts=one_more(movement.frozen_drifts, step))
    return movement


def _are_scalars(tensors: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> bool:
    """Return whether an entry is a number of a whole parameter, and not of the one weight that it has."""
    pairs = zip(parameters, tensors, strict=True)
    return any(p.numel() > 1 and tensor is not None and tensor.numel() == 1 for p, tensor in pairs)


def _divided(norm: Norm | list[float], scale: float) -> Norm | list[float]:
    if isinstance(norm, list):
        return [n / scale for n in norm]
    return Norm(norm.whole / scale, None if norm.each is None else [n / scale for n in norm.each])


def _is_finite(norm: Value) -> bool:
    """Return whether a norm, or the norms of all parameters, are finite; on an accelerator, this waits."""
    if isinstance(norm, Norm):
        return isfinite(norm.whole)
    if isinstance(norm, Tensor):
        return isfinite(norm.sum().item())
    return isfinite(sum(norm)) if isinstance(norm, list) else norm is None or isfinite(norm)
