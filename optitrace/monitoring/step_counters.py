"""The step counters in the state of an optimizer: whether each step raises them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optitrace.experiment.float_formats import dtype_name
from optitrace.monitoring.update_rule import COUNT
from optitrace.records.training import StalledCounter, Tally, one_more

COARSE = (torch.bfloat16, torch.float16)
"""The dtypes in which a counter comes to a number that it cannot leave: 256 + 1 is 256 in bfloat16."""


class CounterTracker:
    """Follows the counters that are in a coarse dtype, which a loaded state may have."""

    def __init__(self, parameters: Sequence[Tensor], names: Sequence[str]) -> None:
        """Begin before a step.

        Args:
            parameters: those of the optimizer.
            names: of each.
        """
        self._parameters = parameters
        self._names = names
        self._before: dict[int, float] = {}
        self._is_coarse = False
        self._steps: Tally | None = None
        self._last: tuple[float, str, tuple[int, ...]] | None = None

    @property
    def stalled(self) -> StalledCounter | None:
        """The counters that steps left as they were."""
        if self._steps is None or self._last is None:
            return None
        value, dtype, places = self._last
        names = () if len(places) == len(self._names) else tuple(self._names[place] for place in places)
        return StalledCounter(value, dtype, self._steps, names)

    def before_step(self, state: Mapping[Tensor, Mapping[str, Any]], *, is_inspected: bool) -> None:
        """Read the counters, if any was coarse in the last inspected step."""
        self._before = {}
        if is_inspected or self._is_coarse:
            self._before = {place: float(counter) for place, counter in self._coarse(state).items()}
            self._is_coarse = bool(self._before)

    def after_step(self, step: int, state: Mapping[Tensor, Mapping[str, Any]]) -> None:
        """Compare them with what a step has left."""
        if not self._before:
            return
        counters = self._coarse(state)
        still = tuple(
            place
            for place, before in self._before.items()
            if place in counters
            and self._parameters[place].grad is not None
            and float(counters[place]) == before
        )
        if still:
            first = counters[still[0]]
            self._steps = one_more(self._steps, step)
            self._last = float(first), dtype_name(first.dtype), still

    def _coarse(self, state: Mapping[Tensor, Mapping[str, Any]]) -> dict[int, Tensor]:
        """Return the counters in a coarse dtype, by the place of their parameters; none on an accelerator."""
        found = {
            place: (state.get(parameter) or {}).get(COUNT) for place, parameter in enumerate(self._parameters)
        }
        return {
            place: counter
            for place, counter in found.items()
            if isinstance(counter, Tensor) and counter.is_cpu and counter.dtype in COARSE
        }
