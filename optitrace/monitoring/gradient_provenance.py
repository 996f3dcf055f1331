"""Where the gradient of each parameter comes from that a step uses.

torch counts the changes of a tensor. A backward adds to the gradient that is there, which counts as one, or
makes a new one; clearing takes it away, or sets it to zero, which counts too. So whoever looks before and
after each backward and each step which tensor a gradient is, and how often it was changed, knows what
happened to it, and seldom has to read its numbers.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from optitrace.monitoring.backward_tracker import Backward, Loss, add, loss_value
from optitrace.monitoring.backward_usage import BackwardUsage
from optitrace.monitoring.tensor_values import has_numbers, is_zero, local, numbers, size
from optitrace.monitoring.torch_internals import version

MOST_OWNERS = 64
"""Of how many modules and optimizers it is remembered which parameters they have."""

Mark: TypeAlias = tuple[int, int]
"""A gradient at a moment: which tensor it is, and how often that was changed."""

NO_GRADIENT: Mark = (0, -1)
"""The mark of a parameter that has none."""

Origin: TypeAlias = Literal["nothing", "old", "added", "new", "by hand"]
"""What a gradient is made of.

``nothing``: there is none, or it is zero. ``old``: the step before used it, or left it. ``added``: a backward
has added to an old one. ``new``: backwards since the step before. ``by hand``: the program has put it there.
"""

LEFT: frozenset[Origin] = frozenset(("old", "added"))
COMPUTED: frozenset[Origin] = frozenset(("new", "added"))
PRESENT: frozenset[Origin] = LEFT | COMPUTED
NOT_NEW: frozenset[Origin] = LEFT | {"nothing", "by hand"}

_gradient = attrgetter("grad")


class GradientMark(NamedTuple):
    """Which gradient an optimizer's parameters have at a moment.

    Attributes:
        clearings: how often it was seen to be cleared.
        changes: how often it was changed by others in a way that may have cleared it.
        backwards: how many have reached it.
        is_of_step_before: whether none of them has since the last step.
        is_scaled: whether a GradScaler has scaled it, and nobody has changed it since.
    """

    clearings: int
    changes: int
    backwards: int
    is_of_step_before: bool
    is_scaled: bool


class GradientProvenance:
    """Follows the gradients of an optimizer's parameters.

    Attributes:
        parameters: those of the optimizer.
        ungraded: the places of the parameters that ask for a gradient and have had none so far.
        parts: after `kind`, the places of the parameters whose gradient is ``stale`` or ``accumulated`` where
            that is not so of all.
        cleared_by: after `kind` has returned ``cleared``, what did it: ``zero_grad``, ``by hand``; or
            ``not finite`` if the gradient was not, whatever has cleared it.
        usage: which backwards the gradients are made of.
    """

    def __init__(self, parameters: Sequence[Tensor], source: Backward | None = None) -> None:
        """Begin to follow.

        Args:
            parameters: of the optimizer.
            source: where gradients come from that are there already, as far as that is known.
        """
        self._set_parameters(parameters)
        self.ungraded = {k for k, p in enumerate(parameters) if p.requires_grad and p.numel()}
        self.parts: Mapping[str, Sequence[int]] = {}
        self.cleared_by = ""
        self.usage = BackwardUsage()
        self._is_rewritten = False
        self._marks = self._marks_now()
        self._origins: list[Origin] = ["nothing"] * len(parameters)
        self._unclipped = self._marks
        self._after_step: list[Mark] | None = None
        # the backwards since the last step, and those that have reached these parameters
        self._heard: list[Any] = []
        self._losses: list[Any] = []
        self._is_scaled = self._is_underway = self._is_told = False
        self._backwards = self._clearings = self._changes = self._reached = self._reached_before = 0
        # the parameter whose gradient costs least to read, that gradient, and what was read
        self._sampled: Tensor | None = None
        self._sample: Tensor | None = None
        self._size: float | None = None
        self._version = -1
        self._was_clear = False
        self._lost_by = ""
        self._lost: tuple[float | None, Tensor | None] = None, None
        for k, mark in enumerate(self._marks):
            if mark != NO_GRADIENT:
                self._origins[k] = "by hand" if source is None else "new"
        if source is not None and "new" in self._origins:
            self._losses, self._is_scaled, self._backwards = [source.loss], source.is_scaled, 1
            self._is_told = True
            self._read_sample(COMPUTED)

    def follow(self, parameters: Sequence[Tensor]) -> None:
        """Go on with other parameters, such as those of before and some more."""
        before = {id(p): k for k, p in enumerate(self.parameters)}
        places = [before.get(id(p)) for p in parameters]
        if places == list(range(len(before))):
            return
        marks, origins, ungraded = self._marks, self._origins, self.ungraded
        self._set_parameters(parameters)
        now = self._marks_now()
        self._marks = [now[k] if old is None else marks[old] for k, old in enumerate(places)]
        if (after := self._after_step) is not None:
            self._after_step = [NO_GRADIENT if old is None else after[old] for old in places]
        there: Origin = "new" if self._heard else "by hand"
        self._origins = [
            origins[old] if old is not None else "nothing" if now[k] == NO_GRADIENT else there
            for k, old in enumerate(places)
        ]
        self.ungraded = {
            k
            for k, (old, p) in enumerate(zip(places, parameters, strict=True))
            if (old in ungraded if old is not None else p.requires_grad and p.numel())
        }
        if "new" in self._origins and not self._backwards:
            self._losses, self._backwards = self._heard, len(self._heard)

    def zeroed(self, owner: Module | Optimizer, parameters: Callable[[], Iterable[Tensor]]) -> None:
        """Record that `zero_grad` was called.

        Args:
            owner: what it was called of, this optimizer or any other or a module.
            parameters: returns the owner's parameters.
        """
        others = self._others(owner, parameters)
        if len(others) == len(self.parameters):
            return
        if others:
            now, self._marks = self._marks_now(), list(self._marks)
            for k in set(range(len(now))).difference(others):
                self._origins[k], self._marks[k] = "nothing", now[k]
        else:
            is_gone = self._sampled is not None and self._sampled.grad is None  # and so are all
            self._marks = self._none if is_gone else self._marks_now()
            self._origins = ["nothing"] * len(self._marks)
        if not self._has(COMPUTED):
            self._lose("zero_grad")
        if not self._has(PRESENT):
            self._clearings += 1
            self._was_clear, self._is_underway = True, False
        elif self._sampled is None or self._sampled.grad is not self._sample:
            self._read_sample(PRESENT)

    def before_backward(self) -> None:
        """Record whether gradients were cleared since they were last looked at."""
        self._is_told = False
        if self._is_underway:  # another thread's, which may have changed gradients already
            return
        self._is_underway = True
        if not self._has(PRESENT):
            self._clearings += 1  # whatever was done since, it was done to nothing
            if self._marks is not self._none or self._sampled is None or self._sampled.grad is not None:
                self._marks = self._marks_now()
            self._was_clear = True
            return
        self._observe(is_before_step=False)
        self._was_clear = not self._has(PRESENT)

    def after_backward(self, backward: Backward) -> None:
        """Record a loss, if its gradient went to these parameters; it is read when it is asked for.

        For a step within a backward this is told before that is done, and then once more.
        """
        self._is_underway = False
        before, self._marks = self._marks, self._marks_now()
        if before is self._none and NO_GRADIENT not in self._marks:
            reached: Sequence[int] = range(len(before))
        else:
            reached = [k for k, mark in enumerate(self._marks) if mark != before[k]]
        if self._is_told:  # what came after that step
            for k in reached:
                self._origins[k] = "nothing" if self._marks[k] == NO_GRADIENT else "old"
            return
        self._is_told = True
        add(self._heard, backward.loss)
        if not reached:
            return
        if len(reached) == len(before) and not self._has(LEFT):
            self._origins = ["new"] * len(before)
        else:
            for k in reached:
                self._origins[k] = "added" if self._origins[k] in LEFT else "new"
        if not self._backwards:
            self._losses = []
        add(self._losses, backward.loss)
        self._is_scaled = backward.is_scaled
        self._backwards += 1
        self._reached += 1
        self._is_rewritten = False
        self.usage.reached(backward)
        self._was_clear, self._lost_by = False, ""
        self._read_sample(COMPUTED)
        if self.ungraded:
            self._note_gradients()

    def kind(self) -> str:
        """Return which of `GRADIENT_KINDS` the gradient of the step is that is about to be taken.

        Where parameters differ, that is the kind of most new gradients; `parts` then has the others.
        """
        self.parts, self.cleared_by = {}, ""
        if self.ungraded:
            self._note_gradients()
        self._observe(is_before_step=True)
        if self._is_scaled and (self._is_rewritten or self._is_written_uncounted()):
            self._is_scaled = False  # the program has taken the scale out itself, as far as one can see
        if self._backwards:
            kind = self._kind_of_new() if self._has(LEFT) else "fresh"
            return "scaled" if self._is_scaled else kind
        is_by_hand = "by hand" in self._origins
        if self._lost_by and not is_by_hand and ("old" in self._origins or not self._has_numbers()):
            self.cleared_by = self._lost_by if self._was_finite() else "not finite"
            return "cleared"
        if all(mark == NO_GRADIENT for mark in self._marks):
            return "none"
        if self._is_untouched():
            return "stale"
        if self._heard and not self._lost_by and not self._was_clear and self._has_numbers():
            self._losses, self._backwards = self._heard, len(self._heard)
            return "scaled" if self._is_scaled else "fresh"
        return "by hand"

    def loss(self) -> Loss:
        """Return the sum of the losses whose gradient the next step uses, or the last one used."""
        self._losses = [loss_value(self._losses)]  # of a stale gradient it is asked for again
        return self._losses[0]  # type: ignore[no-any-return]

    def mark(self, underway: Backward | None = None) -> GradientMark:
        """Return which gradient there is, as far as it was looked at.

        Args:
            underway: the backward that goes on, if one does: the gradient is then taken for what it makes.
        """
        is_new = underway is not None and not self._is_told
        return GradientMark(
            self._clearings,
            self._changes,
            self._reached + is_new,
            is_of_step_before=not is_new and self._reached == self._reached_before,
            is_scaled=underway.is_scaled
            if underway is not None and is_new
            else self._is_scaled and not self._is_rewritten and self._marks == self._marks_now(),
        )

    def mark_of_step(self) -> GradientMark:
        """Return which gradient a step is about to use, which may have been cleared just now."""
        self._observe(is_before_step=True)
        return self.mark()

    def unscaled(self) -> None:
        """Record that a GradScaler has unscaled the gradients."""
        self._is_scaled = False
        self._unclipped = self._marks
        self.after_clipping()

    def before_clipping(self, underway: Backward | None) -> GradientMark:
        """Return which gradient is about to be clipped, as `mark` does."""
        self._observe(is_before_step=True)
        self._unclipped = self._marks_now()
        self.usage.measured()
        return self.mark(underway)

    def after_clipping(self) -> None:
        """Look at what a clipping has changed, which is no clearing."""
        marks, now, after_step = list(self._marks), self._marks_now(), list(self._after_step or ())
        for k, (mark, before) in enumerate(zip(marks, self._unclipped, strict=True)):
            if mark == before and now[k] != NO_GRADIENT:
                marks[k] = now[k]
                if after_step and after_step[k] == before:
                    after_step[k] = now[k]
        self._marks, self._after_step = marks, after_step or None
        if self._sample is not None:
            self._size, self._version = size(self._sample), version(self._sample)

    def stepped(self, step: int) -> None:
        """Record that a step was taken, by its number."""
        self.usage.stepped(step, is_rewritten=self._is_rewritten)
        self._is_rewritten = False
        self._marks = self._after_step = now = self._marks_now()
        self._origins = [
            "nothing" if now[k] == NO_GRADIENT or origin == "nothing" else "old"
            for k, origin in enumerate(self._origins)
        ]
        self._reached_before = self._reached
        self._heard, self._backwards = [], 0
        self._is_underway = self._was_clear = False
        self._lost_by, self._lost = "", (None, None)
        self._read_sample(LEFT)

    def _kind_of_new(self) -> str:
        """Return the kind of most new gradients; set `parts`."""
        old, added = self._places("old"), self._places("added")
        new = self._origins.count("new")
        found = {"stale": old, "accumulated": added if new else []}
        self.parts = {kind: places for kind, places in found.items() if places}
        return "accumulated" if added and len(added) >= new else "fresh"

    # what the program itself does to gradients

    def _observe(self, *, is_before_step: bool) -> None:
        """Record what was done to gradients since they were last looked at, by anything but a backward.

        Before a backward, what was replaced, or changed on an accelerator, is taken for cleared: to read it
        would wait for the device.
        """
        if is_before_step and self._is_sample_unchanged() and not self._has(NOT_NEW):
            return  # if others were cleared, the step has a new gradient all the same
        before, now, origins = self._marks, self._marks_now(), self._origins
        if is_before_step and now == before:
            return
        had_any, is_sure = self._has(PRESENT), True
        is_replaced = self._is_sample_replaced()
        self._marks = now
        written = []
        for k, mark in enumerate(now):
            if mark == NO_GRADIENT:
                origins[k] = "nothing"
            elif is_replaced or mark[0] != before[k][0]:
                if is_before_step and origins[k] in ("new", "added"):
                    origins[k] = "new"  # as where noise is added to it
                    now[k] = before[k]  # before a backward it is a clearing
                    written.append(k)
                else:
                    is_sure = is_sure and origins[k] == "nothing"
                    origins[k] = "by hand"
            elif mark != before[k]:
                written.append(k)
        if written:
            is_sure = self._observe_written(written, before, is_before_step=is_before_step) and is_sure
        self._is_rewritten = bool(is_before_step and written) and self._has(PRESENT)
        if not is_before_step:
            self._drop_zeros(written)
        if had_any and not self._has(PRESENT):
            self._clearings += is_sure
            self._changes += not is_sure
        if not self._has(COMPUTED):
            self._lose("by hand")

    def _observe_written(
        self, places: Sequence[int], before: Sequence[Mark], *, is_before_step: bool
    ) -> bool:
        """Record gradients that were written in place; return whether it is sure what they are."""
        sample = self.parameters[min(places, key=self._costs.__getitem__)]
        is_here = sample.grad is not None and sample.grad.is_cpu
        is_cleared = is_zero(sample) if is_here else not is_before_step
        if is_before_step and self._backwards and self._size == 0:  # it was zero all the time
            is_cleared = False
        for k in places:
            if is_cleared:
                self._origins[k] = "nothing"
            elif self._origins[k] == "nothing":
                self._origins[k] = "by hand"
            if not is_here and is_before_step:
                self._marks[k] = before[k]
        return is_here

    def _drop_zeros(self, written: Sequence[int]) -> None:
        """Give up gradients that are zero though nothing counted a change, as ``grad.data.zero_()``."""
        sample = self._sample
        if self._backwards and self._size and sample is not None and not has_numbers(sample):
            self._origins = ["nothing" if origin != "by hand" else origin for origin in self._origins]
        elif not self._backwards:
            for k in set(self._places("old")).difference(written):
                gradient = self.parameters[k].grad
                if gradient is not None and gradient.is_cpu and not has_numbers(gradient):
                    self._origins[k] = "nothing"

    def _lose(self, by: str) -> None:
        """Record the clearing of gradients that a backward has computed since the last step."""
        if self._backwards:
            self.usage.cleared()
            is_replaced = all(p.grad is not self._sample for p in self.parameters)
            self._lost_by, self._lost = by, (self._size, self._sample if is_replaced else None)
        self._backwards = 0

    def _was_finite(self) -> bool:
        """Return whether a gradient was finite before it was cleared, as far as that is known."""
        known, gradient = self._lost
        if known is not None:
            return math.isfinite(known)
        return gradient is None or bool(numbers(gradient).isfinite().all())

    def _is_untouched(self) -> bool:
        """Return whether the gradients that there are are what they were after the last step.

        What is written through `grad.data`, the array of `grad.numpy()` or its storage, nothing counts.
        """
        if self._after_step is None:
            return False
        pairs = zip(self._after_step, self._marks_now(), strict=True)
        is_counted = any(now not in (before, NO_GRADIENT) for before, now in pairs)
        return not is_counted and (self._size is None or size(self._sample) == self._size)

    # looking

    def _set_parameters(self, parameters: Sequence[Tensor]) -> None:
        """Look at these from now on."""
        self.parameters = parameters
        self._none = [NO_GRADIENT] * len(parameters)
        self._costs = list(map(_cost, parameters))
        self._by_cost = sorted(range(len(parameters)), key=self._costs.__getitem__)
        self._not_theirs: dict[int, tuple[weakref.ref[Module | Optimizer], list[int]]] = {}

    def _marks_now(self) -> list[Mark]:
        gradients = list(map(_gradient, self.parameters))
        try:
            return list(zip(map(id, gradients), map(version, gradients), strict=True))
        except AttributeError:  # None has no version
            return [NO_GRADIENT if g is None else (id(g), version(g)) for g in gradients]

    def _has(self, origins: frozenset[Origin]) -> bool:
        return not origins.isdisjoint(self._origins)

    def _places(self, origin: Origin) -> list[int]:
        return [k for k, one in enumerate(self._origins) if one == origin]

    def _read_sample(self, origins: frozenset[Origin]) -> None:
        """Read the gradient that costs least of those of some origins."""
        there = (self.parameters[k] for k in self._by_cost if self._origins[k] in origins)
        self._sampled = next(there, None)
        self._sample = None if self._sampled is None else self._sampled.grad
        self._size = size(self._sample)
        self._version = -1 if self._sample is None else version(self._sample)

    def _is_sample_unchanged(self) -> bool:
        if self._sampled is None or self._sample is None:
            return False
        return self._sampled.grad is self._sample and version(self._sample) == self._version

    def _is_sample_replaced(self) -> bool:
        """Return whether the sample is another tensor now: then the others are, too, though ids say nothing.

        The tensors that are gone may have left theirs to new ones.
        """
        now = None if self._sampled is None else self._sampled.grad
        return now is not None and now is not self._sample

    def _has_numbers(self) -> bool:
        return not all(map(is_zero, self.parameters))

    def _is_written_uncounted(self) -> bool:
        """Return whether the sample was written in a way that torch does not count, as through ``data``."""
        return self._size is not None and self._is_sample_unchanged() and size(self._sample) != self._size

    def _note_gradients(self) -> None:
        self.ungraded = {k for k in self.ungraded if self.parameters[k].grad is None}

    def _others(self, owner: Module | Optimizer, parameters: Callable[[], Iterable[Tensor]]) -> list[int]:
        """Return the places of the parameters that an owner has not; remember them, as it takes time."""
        known, places = self._not_theirs.get(id(owner), (None, []))
        if known is None or known() is not owner:
            keys = set(map(id, parameters()))
            places = [k for k, p in enumerate(self.parameters) if id(p) not in keys]
            if len(self._not_theirs) == MOST_OWNERS:
                self._not_theirs.clear()
            self._not_theirs[id(owner)] = weakref.ref(owner), places
        return places


def _cost(parameter: Tensor) -> tuple[bool, int]:
    """Return what it costs to read a gradient: a small one is soon read."""
    here = local(parameter).numel()
    return not parameter.requires_grad or not here, here
