"""Metrics of each recorded step: the norms of gradients, updates and weights; now and then, each weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite, nan
from typing import Any

import torch
from torch import Tensor

from optitrace.experiment.own_module import reason
from optitrace.monitoring.parameters import shown_name
from optitrace.monitoring.recording_config import RecordingConfig, SelectedWeights, is_inspected
from optitrace.monitoring.row_recorder import Row, Value
from optitrace.monitoring.step_statistics import LOST, STATE, VALUES
from optitrace.monitoring.tensor_values import has_numbers, is_sharded, local, norms, numbers


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
    ) -> None:
        """Measure nothing yet.

        Args:
            parameters: those that the optimizer moves.
            config: what to record.
            weights: the weights that are recorded themselves.
        """
        self.unmeasured: dict[str, str] = {}
        self.is_broken = self._was_broken = False
        self.parameters = parameters
        self._device = parameters[0].device
        self._is_on_host = all(p.is_cpu for p in parameters)
        self._keeps_state = config is not None and config.state
        self._weights = weights
        self._changes: list[Tensor] = []
        self._before: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Keep the weights as they are before a step."""
        self._changes = [numbers(p).clone() for p in self.parameters]

    @torch.no_grad()
    def gradient_norms(self) -> Tensor:
        """Return the norm of each gradient, shape (parameters,), 0 of a parameter that has none."""
        return norms([p.grad for p in self.parameters], self._device)

    @torch.no_grad()
    def moved(self, *, keeps: bool = False) -> tuple[Tensor, Tensor]:
        """Return the norms of what the step changed of each parameter, and of each parameter after it.

        Args:
            keeps: whether to keep the weights before the step for `before` if those after it are not all
                finite; to know that, an accelerator is waited for.
        """
        weights = [numbers(p) for p in self.parameters]
        weight_norms = norms(weights, self._device)
        self.is_broken = keeps and not _is_finite(weight_norms)
        self._before = [before.clone() for before in self._changes] if self.is_broken else []
        for change, now in zip(self._changes, weights, strict=True):
            change.sub_(now)
        return norms(self._changes, self._device), weight_norms

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
        self, row: Row, state: Mapping[Tensor, Mapping[str, Any]], number: int, *, is_skipped: bool = False
    ) -> None:
        """Add to a row what its step made.

        Args:
            row: the values of the step so far.
            state: the optimizer's state as it is now.
            number: of the row, from 1, which decides whether it is inspected.
            is_skipped: whether the step was left out, and so broke nothing.
        """
        is_deep = is_inspected(number)
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
            entries, unmeasured = state_norms(self.parameters, state)
            if self._keeps_state:
                self.unmeasured |= unmeasured
            row |= {f"{STATE}{shown_name(name)}": value for name, value in entries.items()}
        if is_deep:
            row[LOST] = self._lost_updates()
        for selected in self._weights:
            row[f"{VALUES}{selected.name}"] = self._weight(selected)
        return list(entries.values())

    def _lost_updates(self) -> Tensor:
        """Count the weights that the step left as they were though their gradient is not zero.

        Returns:
            How many they are, and how many have a gradient that is not zero, shape (2,).
        """
        counts = []
        for place, parameter in enumerate(self.parameters):
            gradient = parameter.grad
            if gradient is None or gradient.layout is not torch.strided:
                continue
            magnitude = local(gradient).abs()
            has_gradient = (magnitude > 0).logical_and_(magnitude < inf)
            is_lost = (local(self.change(place)) == 0).logical_and_(has_gradient)
            counts.append(torch.stack([is_lost.count_nonzero(), has_gradient.count_nonzero()]))
        if not counts:
            return torch.zeros(2)
        return torch.stack([count.to(counts[0].device) for count in counts]).sum(0)

    def _weight(self, selected: SelectedWeights) -> Tensor:
        whole = self.parameters[selected.parameter].detach()
        if is_sharded(whole):  # the index is into the whole, which no process has
            whole = torch.full(whole.shape, nan)
        value = local(whole)[selected.index or ...]
        return value.clone() if value.ndim == 0 else value.reshape(-1).clone()


def state_norms(
    parameters: Sequence[Tensor], state: Mapping[Tensor, Mapping[str, Any]]
) -> tuple[dict[str, Value], dict[str, str]]:
    """Return the norm of each state entry for each parameter; of an entry of one number, the first's.

    What is no number is left out.

    Returns:
        The norms; and the entries that cannot be measured, and why: a tensor subclass need not do all that
        torch's own tensors do.
    """
    found: dict[str, Value] = {}
    unmeasured: dict[str, str] = {}
    entries = [state.get(p, {}) for p in parameters]
    for key in dict.fromkeys(key for entry in entries for key in entry):
        values = [entry.get(key) for entry in entries]
        first = next(value for value in values if value is not None)
        if isinstance(first, bool) or not isinstance(first, Tensor | int | float):
            continue
        try:
            found[str(key)] = _norm(first, values, parameters)
        except Exception as error:
            if type(first) is Tensor:
                raise
            unmeasured[str(key)] = reason(error)
    return found, unmeasured


def _norm(first: Tensor | float, values: Sequence[Any], parameters: Sequence[Tensor]) -> float | Tensor:
    device = parameters[0].device
    if not isinstance(first, Tensor):
        return float(first)
    tensors = [value if isinstance(value, Tensor) else None for value in values]
    if first.numel() == 1 and (first.ndim == 0 or _are_scalars(tensors, parameters)):
        number = first.detach().reshape(()).clone()  # the next step changes it in place
        return number.double() if device.type == "cpu" else number
    return norms(tensors, device)


def _are_scalars(tensors: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> bool:
    """Return whether an entry is a number of a whole parameter, and not of the one weight that it has."""
    pairs = zip(parameters, tensors, strict=True)
    return any(p.numel() > 1 and tensor is not None and tensor.numel() == 1 for p, tensor in pairs)


def _is_finite(norm: Value) -> bool:
    """Return whether a norm, or the norms of all parameters, are finite; on an accelerator, this waits."""
    if isinstance(norm, Tensor):
        return isfinite(norm.sum().item())
    return isfinite(sum(norm)) if isinstance(norm, list) else norm is None or isfinite(norm)
