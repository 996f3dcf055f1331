"""Metrics of each recorded step, as the values of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.monitoring.gradient_numbers import has_numbers
from optitrace.monitoring.gradient_provenance import GradientProvenance
from optitrace.monitoring.nonfinite_cause import explain_break, is_finite
from optitrace.monitoring.norms import StepNorms
from optitrace.monitoring.param_groups import shown_name
from optitrace.monitoring.recording_config import RecordingConfig, is_inspected
from optitrace.monitoring.row_recorder import Row, Value
from optitrace.monitoring.sharding import is_sharded, local
from optitrace.monitoring.step_inspection import lost_updates, state_norms
from optitrace.monitoring.step_statistics import LOST, STATE
from optitrace.monitoring.weight_selectors import Watched
from optitrace.records.training import NUMBERS, WITHOUT_LOSS
from optitrace.rules.breakdown import Breakdown

VALUES = "values "
"""What stands before the names of the columns of single weights."""


class StepMetrics:
    """Measures the steps of one optimizer. Nothing of it waits for an accelerator.

    Attributes:
        unmeasured: the entries of the state that cannot be measured though they are wanted, and why.
    """

    def __init__(
        self, parameters: Sequence[Tensor], wish: RecordingConfig, values: Sequence[Watched]
    ) -> None:
        """Measure nothing yet.

        Args:
            parameters: what the optimizer moves.
            wish: what is to be recorded.
            values: the weights that are recorded themselves.
        """
        self._parameters = parameters
        self._wish = wish
        self._values = values
        self._norms = StepNorms(parameters)
        self._looks_closely = wish.state or bool(values)
        self.unmeasured: dict[str, str] = {}
        self._is_on_host = all(p.device.type == "cpu" for p in parameters)
        self._keeps = self._was_broken = False

    def remember(self) -> None:
        """Keep the weights as they are before a step that is yet to find its gradient."""
        self._norms.remember()

    def gradient(self) -> Tensor:
        """Return the norm of the gradient that there is."""
        return self._norms.gradient()

    def begin(self, kind: str, history: GradientProvenance, groups: Sequence[Mapping[str, Any]]) -> Row:
        """Keep the weights as they are before a step, and return what it is about to use; see `used`."""
        self.remember()
        return self._row(self.gradient(), kind, history, groups)

    def used(self, kind: str, history: GradientProvenance, groups: Sequence[Mapping[str, Any]]) -> Row:
        """Return what a step is about to use whose weights were kept already.

        Args:
            kind: which of the kinds of gradients it is.
            history: where the gradient comes from.
            groups: the optimizer's parameter groups as they are now.
        """
        return self._row(self._norms.gradient(), kind, history, groups)

    def made(self, row: Row, state: Mapping[Tensor, Mapping[str, Any]], number: int) -> None:
        """Add to a row what its step has made.

        Args:
            row: as `used` has returned it.
            state: the optimizer's state as it is now.
            number: of the row, from 1, which decides whether it is inspected.
        """
        is_deep = is_inspected(number)
        self._keeps = not self._was_broken and (self._is_on_host or is_deep)  # no other step may wait
        row["update_norm"], row["weight_norm"] = self._norms.moved(keeps=self._keeps)
        if is_deep or self._looks_closely:
            with torch.no_grad():
                self._look_closely(row, state, is_deep=is_deep)

    def has_broken(self, row: Row) -> bool:
        """Return whether a recorded step is the first to leave a number that is not finite."""
        made = (value for name, value in row.items() if name == "weight_norm" or name.startswith(STATE))
        self._was_broken = self._was_broken or (self._keeps and not all(map(is_finite, made)))
        return self._was_broken and self._keeps

    def why_broken(self, optimizer: Optimizer, step: int) -> Breakdown | None:
        """Return why such a step has left that number; None if it cannot be told."""
        with torch.no_grad():
            return explain_break(optimizer, self._parameters, self._norms, step)

    def is_moved(self, place: int) -> bool:
        """Return whether the last step moved a parameter with a nonzero gradient; waits for a device."""
        gradient = self._parameters[place].grad
        if gradient is None or not has_numbers(gradient):
            return False
        return bool(local(self._norms.change(place)).any())

    def _row(
        self, gradient: Tensor, kind: str, history: GradientProvenance, groups: Sequence[Mapping[str, Any]]
    ) -> Row:
        row: Row = {"loss": nan if kind in WITHOUT_LOSS else history.loss()}
        if (lr := _lr(groups)) is not None:
            row["lr"] = lr
        row["gradient_norm"] = gradient
        row["gradient"] = NUMBERS[kind]
        return row

    def _look_closely(self, row: Row, state: Mapping[Tensor, Mapping[str, Any]], *, is_deep: bool) -> None:
        if self._wish.state or is_deep:
            entries, unmeasured = state_norms(self._parameters, state)
            if self._wish.state:
                self.unmeasured |= unmeasured
            row |= {f"{STATE}{shown_name(name)}": value for name, value in entries.items()}
        if is_deep:
            row[LOST] = lost_updates(self._parameters, self._norms)
        for found in self._values:
            row[f"{VALUES}{found.name}"] = self._value(found)

    def _value(self, found: Watched) -> Tensor:
        whole = self._parameters[found.parameter].detach()
        if is_sharded(whole):  # the places are those of the whole, which no process has
            whole = torch.full(whole.shape, nan)
        value = local(whole)[found.place or ...]
        return value.clone() if value.ndim == 0 else value.reshape(-1).clone()


def _lr(groups: Sequence[Mapping[str, Any]]) -> Value:
    """Return the lr, or that of each group; a tensor stays where it is. None if there is no number."""
    lrs: list[Any] = [group["lr"] for group in groups if hasattr(group.get("lr"), "__float__")]
    if len(lrs) == 1 and type(lrs[0]) is float:
        return lrs[0]
    if not lrs:
        return None
    if tensors := [lr for lr in lrs if isinstance(lr, Tensor)]:
        device = tensors[0].device
        with torch.no_grad():
            lines = [torch.as_tensor(lr, dtype=torch.float64).to(device).reshape(()) for lr in lrs]
            return torch.stack(lines) if len(lines) > 1 else lines[0].clone()
    return float(lrs[0]) if len(lrs) == 1 else [float(lr) for lr in lrs]
