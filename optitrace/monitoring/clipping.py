"""Gradient clipping: which steps used which clipped gradients, and whether the limit was reached."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor
from torch.optim import Optimizer

from optitrace.monitoring.gradient_provenance import GradientMark
from optitrace.monitoring.norms import Norm
from optitrace.monitoring.parameters import ParameterSet
from optitrace.monitoring.row_recorder import BLOCK, fetch
from optitrace.monitoring.tensor_values import is_sharded, local
from optitrace.records.training import ClippingKind, ClippingTally, Tally, one_more

MOST_PENDING = 64
"""How many clipped gradients wait for a step that uses them: an optimizer may never take one."""

MOST_CALLS = 4096
"""How many clippings of one gradient are kept: a program may clip each parameter by itself."""


@dataclass(slots=True, eq=False)
class ClippingCall:
    """One clipping, of parameters that several optimizers may have.

    Attributes:
        limit: of the norm or of the values.
        measured: the norm or the largest value before, shape (); None if every process has a part of it.
        is_used: whether a step of any optimizer has used what was clipped.
        optimizers: those whose gradients are clipped, as long as they live.
    """

    limit: float
    measured: Tensor | None = None
    is_used: bool = False
    optimizers: Sequence[weakref.ref[Optimizer]] = ()

    def done(self, measured: Tensor) -> Sequence[Optimizer]:
        """Keep what was measured, and return the optimizers."""
        if not is_sharded(measured):
            self.measured = local(measured)
        return [optimizer for each in self.optimizers if (optimizer := each()) is not None]


class ClippingTracker:
    """Follows the clippings of an optimizer's gradients until a step uses them or others.

    Attributes:
        scale: by what a GradScaler had scaled a gradient when one was first clipped scaled; None if never.
    """

    def __init__(self, members: ParameterSet) -> None:
        """Begin with none; the argument is the optimizer's parameters."""
        self.scale: float | None = None
        self._members = members
        self._pending: list[_Clipped] = []
        self._unread: list[_Unread] = []
        self._tallies: dict[ClippingKind, ClippingTally] = {}

    def add(
        self,
        call: ClippingCall,
        parameters: Collection[int],
        mark: GradientMark,
        measure: Callable[[], Norm | Tensor] | None,
    ) -> None:
        """Record a clipping that is about to be done.

        Args:
            call: the clipping.
            parameters: the ids of all that it clips.
            mark: which gradient that is.
            measure: returns the norm of the optimizer's gradients; None if the next step is not recorded.
        """
        if not self._pending or self._pending[-1].mark != mark:
            self._forget(mark)
            self._pending.append(_Clipped(mark, measure() if measure else None))
        clipped = self._pending[-1]
        clipped.parameters.update(parameters)
        if len(clipped.calls) < MOST_CALLS:
            clipped.calls.append(call)

    def used_by(self, step: int, kind: str, mark: Callable[[], GradientMark]) -> Norm | Tensor | None:
        """Decide what the clippings since the last step were to this one.

        Args:
            step: its number.
            kind: of its gradient, one of `GRADIENT_KINDS`.
            mark: returns which gradient it uses.

        Returns:
            The norm before it was clipped of what the step uses; None if it was not clipped or not measured.
        """
        pending, self._pending = self._pending, []
        if kind in ("none", "skipped") or not pending:
            return None
        now = mark()
        found: dict[ClippingKind, list[_Clipped]] = {}
        for clipped in pending:
            if (is_to_it := clipped.kind(now)) is not None:
                # a step that uses the scaled gradient itself has one scale, and another diagnosis
                is_to_it = "used" if kind == "scaled" and is_to_it == "scaled" else is_to_it
                found.setdefault(is_to_it, []).append(clipped)
        early = found.pop("before backward", [])
        for clipped_so in found.values():
            for call in _calls(clipped_so):
                call.is_used = True
        if not found and early and not any(call.is_used for call in _calls(early)):
            found = {"before backward": early}
        for each, those in found.items():
            self._count(each, step, those)
        return next((each.unclipped for each in found.get("used", ()) if each.unclipped is not None), None)

    def tallies(self) -> dict[ClippingKind, ClippingTally]:
        """Return what the clippings so far were to the steps."""
        self._read()
        return dict(self._tallies)

    def _forget(self, now: GradientMark) -> None:
        """Forget clipped gradients that no step can use, but one that tells that it came too early."""
        early = [each for each in self._pending if each.kind(now) == "before backward"]
        live = [each for each in self._pending if each.kind(now) not in ("before backward", None)]
        self._pending = [*early[:1], *live[-MOST_PENDING:]]

    def _count(self, kind: ClippingKind, step: int, clipped: Sequence[_Clipped]) -> None:
        is_new = kind not in self._tallies and all(each.kind != kind for each in self._unread)
        parameters = self._clipped_part(clipped) if is_new else ()
        self._unread.append(_Unread(kind, step, list(_calls(clipped)), parameters))
        last = self._unread[-1].calls
        if len(self._unread) >= BLOCK or all(c.measured is None or c.measured.is_cpu for c in last):
            self._read()

    def _clipped_part(self, clipped: Iterable[_Clipped]) -> tuple[str, ...]:
        """Return the names of the parameters that were clipped; none if all were that have a gradient."""
        parameters = set[int]().union(*(each.parameters for each in clipped))
        members = zip(self._members.names, self._members.parameters, strict=True)
        having = {name: id(p) in parameters for name, p in members if p.grad is not None}
        return () if all(having.values()) else tuple(name for name, is_in in having.items() if is_in)

    def _read(self) -> None:
        unread, self._unread = self._unread, []
        rows = [
            [{"measured": call.measured} for call in each.calls if call.measured is not None]
            for each in unread
        ]
        fetch([row for of_step in rows for row in of_step])
        for each, of_step in zip(unread, rows, strict=True):
            done = [call.limit for call in each.calls if call.measured is not None]
            is_cut = any(not row["measured"] <= limit for row, limit in zip(of_step, done, strict=True))
            self._tallies[each.kind] = self._tally_with(each, is_cut=is_cut)

    def _tally_with(self, unread: _Unread, *, is_cut: bool) -> ClippingTally:
        """Return the tally of a kind with the clippings of one step more."""
        tally, step = self._tallies.get(unread.kind), unread.step
        limits = [call.limit for call in unread.calls]
        if tally is None:
            scale = self.scale if unread.kind == "scaled" else None
            cut = Tally(1, step) if is_cut else None
            return ClippingTally(Tally(1, step), cut, (min(limits), max(limits)), scale, unread.parameters)
        return replace(
            tally,
            steps=one_more(tally.steps, step),
            cut=one_more(tally.cut, step) if is_cut else tally.cut,
            limits=(min(*limits, tally.limits[0]), max(*limits, tally.limits[1])),
        )


@dataclass(slots=True, eq=False)
class _Clipped:
    """A gradient that was clipped.

    Attributes:
        mark: which gradient it is.
        unclipped: its norm before the first clipping, if that was measured.
        calls: the clippings.
        parameters: the ids of those that were clipped.
    """

    mark: GradientMark
    unclipped: Norm | Tensor | None
    calls: list[ClippingCall] = field(default_factory=list)
    parameters: set[int] = field(default_factory=set)

    def kind(self, now: GradientMark) -> ClippingKind | None:
        """Return what the clipping is to a step that uses the gradient of now; None if that is not known.

        A gradient that was computed, clipped and thrown away may have been for something else.
        """
        then = self.mark
        if then.clearings != now.clearings:
            return "before backward" if then.is_of_step_before else None
        if then.changes != now.changes:
            return None
        if then.backwards < now.backwards:
            return None if then.is_of_step_before else "micro-batch"
        return "scaled" if then.is_scaled else "used"


@dataclass(frozen=True, slots=True)
class _Unread:
    """The clippings of a step whose numbers may still be on an accelerator."""

    kind: ClippingKind
    step: int
    calls: Sequence[ClippingCall]
    parameters: tuple[str, ...]


def _calls(clipped: Iterable[_Clipped]) -> Iterator[ClippingCall]:
    return (call for each in clipped for call in each.calls)
