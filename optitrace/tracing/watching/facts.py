"""The facts about one optimizer's steps that are no columns: how often what was seen, and where first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from torch import Tensor

from optitrace.tracing.watching.gauges import total
from optitrace.tracing.watching.recording import BLOCK, fetch, ratio
from optitrace.tracing.watching.scaling import FOUND_INF, SCALE
from optitrace.tracing.watching.training import (
    KINDS,
    OF_A_PARAMETER,
    WITHOUT_LOSS,
    LostUpdate,
    NonFinite,
    Tally,
)

STATE = "state "
"""What stands before the names of the state's columns."""

EACH = "each "
"""What stands before the names of the columns that have a value for each parameter."""

LOST = "lost"
"""The name of what `lost_updates` returns."""

_NORMS = ("gradient_norm", "unclipped_gradient_norm", "update_norm", "weight_norm")


class Facts:
    """Gathers the facts.

    Args:
        names: of the parameters.
        by_parameter: whether the norms of each parameter are kept, too.
        state: whether those of the state are.
    """

    def __init__(self, names: Sequence[str], *, by_parameter: bool, state: bool) -> None:
        self.gradients: dict[str, Tally] = {}
        self.clipped: Tally | None = None
        self.lost: list[LostUpdate] = []
        self._names = names
        self._by_parameter = by_parameter
        self._keeps_state = state
        self._is_clipping = False
        self._last_clipped = 0
        self._non_finite: dict[str, NonFinite] = {}
        self._clips: list[tuple[int, dict[str, Any], float]] = []

    @property
    def non_finite(self) -> tuple[NonFinite, ...]:
        """The first of each quantity that is not finite, in the order of the steps and within a step."""
        return tuple(sorted(self._non_finite.values(), key=lambda found: found.step))

    def used(self, kind: str, step: int) -> None:
        """Count a step that used a gradient of a kind."""
        self.gradients[kind] = _counted(self.gradients.get(kind), step)

    def clips(self, step: int, measured: Tensor, limit: float) -> None:
        """Note that before a step gradients were clipped, if what was measured is above the limit."""
        self._clips.append((step, {"measured": measured.detach()}, limit))
        if len(self._clips) >= BLOCK or measured.device.type == "cpu":
            self.read_clips()

    def read_clips(self) -> None:
        """Count the clippings that took effect."""
        clips, self._clips = self._clips, []
        fetch([measured for _, measured, _ in clips])
        for step, measured, limit in clips:
            if not measured["measured"] <= limit and self._last_clipped != step:
                self.clipped = _counted(self.clipped, step)
                self._last_clipped = step

    def judge(self, step: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at the values of a recorded step; return those that are to be kept."""
        values = dict(row)
        self._undo_scale(values)
        if values.get(FOUND_INF):
            self._left_out(step, values)
        self._look(step, values)
        kept = {name: value for name, value in values.items() if self._is_kept(name)}
        self._is_clipping = self._is_clipping or "unclipped_gradient_norm" in kept
        if self._is_clipping:  # where nothing was clipped, it is the same
            kept.setdefault("unclipped_gradient_norm", kept["gradient_norm"])
        for name, value in list(kept.items()):
            if isinstance(value, list) and (name in _NORMS or name.startswith(STATE)):
                kept[name] = total(value)
                if self._by_parameter and name in OF_A_PARAMETER:
                    kept[f"{EACH}{name}"] = value
        kept["update_ratio"] = ratio(kept["update_norm"], kept["weight_norm"])
        if self._by_parameter:
            pairs = zip(kept[f"{EACH}update_norm"], kept[f"{EACH}weight_norm"], strict=True)
            kept[f"{EACH}update_ratio"] = [ratio(*pair) for pair in pairs]
        return kept

    def _is_kept(self, name: str) -> bool:
        if name.startswith(STATE):
            return self._keeps_state
        return name not in (LOST, FOUND_INF, SCALE)

    def _undo_scale(self, values: dict[str, Any]) -> None:
        scale = values.get(SCALE)
        if scale:
            norm = values["gradient_norm"]
            values["gradient_norm"] = [n / scale for n in norm] if isinstance(norm, list) else norm / scale

    def _left_out(self, step: int, values: dict[str, Any]) -> None:
        """Correct what was counted of a step that turned out to be left out."""
        before = KINDS[int(values["gradient"])]
        tally = self.gradients[before]
        if tally.count == 1:
            del self.gradients[before]
        else:
            first = tally.first + 1 if tally.first == step else tally.first
            self.gradients[before] = Tally(tally.count - 1, first)
        self.used("skipped", step)
        values["gradient"] = float(KINDS.index("skipped"))

    def _look(self, step: int, values: Mapping[str, Any]) -> None:
        kind = KINDS[int(values["gradient"])]
        if kind != "skipped":
            if kind not in WITHOUT_LOSS and not isfinite(values["loss"]):
                self._found("loss", step, None)
            self._look_at_norms("gradient", step, values["gradient_norm"])
        for name, value in values.items():
            if name.startswith(STATE):
                self._look_at_norms(name.removeprefix(STATE), step, value)
        self._look_at_norms("weights", step, values["weight_norm"])
        if LOST in values and kind not in ("skipped", "none"):
            lost, coordinates = map(int, values[LOST])
            if lost:
                self.lost.append(LostUpdate(step, lost, coordinates))

    def _look_at_norms(self, quantity: str, step: int, norms: list[float] | float) -> None:
        if quantity in self._non_finite:
            return
        if not isinstance(norms, list):
            if not isfinite(norms):
                self._found(quantity, step, self._names[0])
        elif not all(map(isfinite, norms)):
            first = next(k for k, norm in enumerate(norms) if not isfinite(norm))
            self._found(quantity, step, self._names[first])

    def _found(self, quantity: str, step: int, parameter: str | None) -> None:
        self._non_finite.setdefault(quantity, NonFinite(quantity, step, parameter))


def _counted(tally: Tally | None, step: int) -> Tally:
    return Tally(1, step) if tally is None else Tally(tally.count + 1, tally.first)
