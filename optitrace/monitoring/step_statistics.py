"""Statistics over the steps of one optimizer that are not columns: counts and first occurrences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from optitrace.monitoring.backward_tracker import FOUND_INF, SCALE
from optitrace.monitoring.row_recorder import ratio
from optitrace.monitoring.tensor_values import total
from optitrace.records.training import (
    KINDS,
    NUMBERS,
    OF_A_PARAMETER,
    WITHOUT_LOSS,
    GradientCase,
    LostUpdate,
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
"""The name of the two numbers of updates that were lost in rounding."""

_NORMS = ("gradient_norm", "unclipped_gradient_norm", "update_norm", "weight_norm")


class StepStatistics:
    """Gathers the statistics, and turns the values of a step into those of its row.

    Attributes:
        lost: the steps in which updates were lost in rounding.
    """

    def __init__(self, names: Sequence[str], *, by_parameter: bool, state: bool) -> None:
        """Begin with no step.

        Args:
            names: of the parameters.
            by_parameter: whether the norms of each parameter are kept, too.
            state: whether those of the state are.
        """
        self.lost: list[LostUpdate] = []
        self._names = names
        self._by_parameter = by_parameter
        self._keeps_state = state
        self._is_clipping = False
        self._used: dict[str, Tally] = {}
        self._cases: dict[tuple[str, str, int | None], tuple[Tally, int]] = {}
        self._non_finite: dict[str, NonFinite] = {}
        self._broke: tuple[int, Breakdown | None] | None = None

    @property
    def gradients(self) -> dict[str, Tally]:
        """The kinds of gradients that steps have used, in the order in which they came."""
        return dict(self._used)

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
        self._used[kind] = one_more(self._used.get(kind), step)

    def had(self, kind: str, cause: str, step: int, places: Iterable[int | None] = (None,)) -> None:
        """Count a step in which parameters at some places had a kind of gradient; None stands for all."""
        for place in places:
            steps, _ = self._cases.get((kind, cause, place), (None, 0))
            self._cases[kind, cause, place] = one_more(steps, step), step

    def judge(self, step: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at the values of a recorded step; return those that are to be kept."""
        values = dict(row)
        if scale := values.get(SCALE):
            norm = values["gradient_norm"]
            values["gradient_norm"] = [n / scale for n in norm] if isinstance(norm, list) else norm / scale
        if values.get(FOUND_INF):
            self._skipped(step, values)
        states = [name for name in values if name.startswith(STATE)]
        each = {}
        for name in (*_NORMS, *states):
            if isinstance(norms := values.get(name), list):
                each[name], values[name] = norms, total(norms)
        self._look(step, values, each, states)
        for name in (LOST, FOUND_INF, SCALE, *(() if self._keeps_state else states)):
            values.pop(name, None)
        self._is_clipping = self._is_clipping or "unclipped_gradient_norm" in values
        if self._is_clipping:  # where nothing was clipped, it is the same
            values.setdefault("unclipped_gradient_norm", values["gradient_norm"])
        values["update_ratio"] = ratio(values["update_norm"], values["weight_norm"])
        if self._by_parameter:
            values |= {f"{EACH}{name}": norms for name, norms in each.items() if name in OF_A_PARAMETER}
            values[f"{EACH}update_ratio"] = list(map(ratio, each["update_norm"], each["weight_norm"]))
        return values

    def _skipped(self, step: int, values: dict[str, Any]) -> None:
        """Correct what was counted of a step that a fused optimizer turned out to have left out."""
        kind = KINDS[int(values["gradient"])]
        before = self._used.pop(kind)
        if before.count > 1:
            self._used[kind] = Tally(before.count - 1, before.first + (before.first == step))
        self.used("skipped", step)
        values["gradient"] = NUMBERS["skipped"]

    def _look(
        self,
        step: int,
        values: Mapping[str, Any],
        each: Mapping[str, list[float]],
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
            lost, coordinates = map(int, values[LOST])
            if lost:
                self.lost.append(LostUpdate(step, lost, coordinates))

    def _look_at(self, quantity: str, step: int, norm: float, each: list[float] | None) -> None:
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
