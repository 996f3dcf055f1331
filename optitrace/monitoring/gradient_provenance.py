"""Where the gradient of each parameter comes from that a step uses.

torch counts the changes of a tensor. A backward adds to the gradient that is there, which counts as one, or
makes a new one; clearing takes it away, or sets it to zero, which counts too. So whoever looks at a gradient
before and after each backward and each step knows what happened to it, without reading its numbers.

To look at all gradients takes time. Where `zero_grad` was called of the optimizer or of a module that has all
its parameters, or no parameter has a gradient before the first backward of a step, all gradients are new, and
one parameter, the witness, is enough from there to the step: it tells whether a backward reached the
optimizer, and whether the gradient was changed since. Where something was left, each is followed.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from optitrace.monitoring.backward_tracker import Backward, Loss, add, loss_value
from optitrace.monitoring.leftover_gradients import NO_GRADIENT, LeftoverGradients, Mark, cost
from optitrace.monitoring.tensor_values import has_numbers, is_zero, numbers, size
from optitrace.monitoring.torch_internals import version

FEW = 8
"""Among how many parameters the one is chosen that is followed, where it changes often."""

MOST_OWNERS = 64
"""Of how many modules and optimizers it is remembered whether they have all parameters."""


class GradientMark(NamedTuple):
    """Which gradient an optimizer's parameters have at a moment.

    Attributes:
        clearings: how often it was seen to be cleared.
        changes: how often it was changed by others in a way that may have cleared it.
        backwards: how many have reached it.
        is_of_step_before: whether none of them has since the last step.
        is_scaled: whether a GradScaler has multiplied it, and nobody has changed it since.
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
        is_scaled: whether they are those of a loss that a GradScaler multiplied, and not divided since.
        backwards: how many backwards the gradient of the next step has.
        ungraded: the places of the parameters that ask for a gradient and have had none so far.
        parts: after `kind`, the places of the parameters whose gradient is ``stale`` or ``accumulated`` where
            that is not so of all.
        cleared_by: after `kind` has returned ``cleared``, what was: ``zero_grad``, ``by hand``; or
            ``not finite`` if the gradient was not, whatever has cleared it.
    """

    def __init__(self, parameters: Sequence[Tensor], heard: Backward | None = None) -> None:
        """Begin to follow.

        Args:
            parameters: of the optimizer.
            heard: where gradients come from that are there already, as far as that was heard.
        """
        self.parameters = parameters
        self._leftovers = LeftoverGradients(parameters)
        self._not_theirs: dict[int, tuple[weakref.ref[Module | Optimizer], list[int]]] = {}
        self._witness = min(parameters, key=cost)
        self._look()
        self._stepped_gradient: Tensor | None = None
        self._stepped_size: float | None = None
        self._taken = 0
        self._is_told = False
        self._has_branches = self._leaves_gradients = False
        self._is_clear = False
        self._after_step: list[Mark] | None = self._leftovers.marks()
        self._around: list[Mark] | None = self._after_step
        self._heard: list[Any] = []
        self._losses: list[Any] = []
        self._size: float | None = None
        self._lost_gradient: Tensor | None = None
        self._lost_by = self.cleared_by = ""
        self._part_by = "by hand"
        self.parts: Mapping[str, Sequence[int]] = {}
        self.is_scaled = False
        self.backwards = 0
        self._clearings = self._changes = self._reached = self._reached_before = 0
        self._is_as_before = False
        self.ungraded = {k for k, p in enumerate(parameters) if p.requires_grad and p.numel()}
        if heard is not None and any(p.grad is not None for p in parameters):
            self._choose_witness()
            self._look()
            self._losses, self.is_scaled, self.backwards = [heard.loss], heard.is_scaled, 1
            self._is_told = True

    def follow(self, parameters: Sequence[Tensor]) -> None:
        """Go on with other parameters, such as those of before and some more."""
        before = {id(p): k for k, p in enumerate(self.parameters)}
        places = [before.get(id(p)) for p in parameters]
        if places == list(range(len(before))):
            return
        now = {old: new for new, old in enumerate(places) if old is not None}
        if (marks := self._after_step) is not None:
            self._after_step = [NO_GRADIENT if k is None else marks[k] for k in places]
        self._leftovers.follow(parameters, now)
        self.ungraded = {now[k] for k in self.ungraded if k in now} | {
            k for k, p in enumerate(parameters) if places[k] is None and p.requires_grad and p.numel()
        }
        self.parameters, self._around = parameters, None
        self._not_theirs = {}
        if not any(self._witness is p for p in parameters):
            self._choose_witness()

    def zeroed(self, owner: Module | Optimizer, parameters: Callable[[], Iterable[Tensor]]) -> None:
        """Record that `zero_grad` was called.

        Args:
            owner: what it was called of, this optimizer or any other or a module.
            parameters: returns the owner's parameters.
        """
        others = self._others(owner, parameters)
        if others and (len(others) == len(self.parameters) or not (self.backwards or self._leftovers)):
            return  # what has none of ours clears none; and what is cleared is seen at the next backward
        if others:
            cleared = sorted(set(range(len(self.parameters))).difference(others))
            self._leftovers.clear(cleared)
            remaining = self._leftovers.remaining(others)
            if remaining:
                self._part_by = "zero_grad"
                if not any(self._witness is self.parameters[k] for k in cleared):
                    return
                self._choose_witness(remaining)
                self._look()
                if not self._witness.is_cpu or not is_zero(self._witness) or self._has_numbers():
                    return
        if self._leftovers or self._leaves_gradients:
            self._leftovers.clear()
        self._clearings += 1
        self._lose("zero_grad")
        self._around, self._is_clear = None, True
        self._look()

    def before_backward(self) -> None:
        """Record whether gradients were cleared since they were last looked at."""
        self._is_told = False
        if not self._is_clear:
            if self._heard or self.backwards:
                self._note_clearing()
            else:
                self._note_what_is_left()
        else:
            self._clearings += 1  # whatever was done since, it was done to nothing
            if self._has_branches:
                self._around = self._leftovers.marks()
        self._look()

    def after_backward(self, backward: Backward) -> None:
        """Record a loss, if its gradient went to these parameters; it is read when it is asked for.

        For a step within a backward this is told before that is done, and then once more.
        """
        if self._is_told:
            self._note_the_rest()
            return
        self._is_told = True
        add(self._heard, backward.loss)
        if not self._is_reached():
            return
        if not self.backwards:
            self._losses = []
        add(self._losses, backward.loss)
        self.is_scaled = backward.is_scaled
        self.backwards += 1
        self._reached += 1
        self._is_clear, self._lost_by, self._part_by = False, "", "by hand"
        self._look()
        self._size = size(self._seen)
        self._note_gradients()
        if self._leftovers:
            self._leftovers.reach()
        if backward.is_scaled:  # `unscaled` comes when it is too late
            self._leftovers.prepare()

    def kind(self) -> str:
        """Return which of `GRADIENT_KINDS` the gradient of the step is that is about to be taken.

        Where parameters differ, that is the kind of most new gradients; `parts` then has the others.
        """
        self.parts, self.cleared_by = {}, ""
        self._note_gradients()
        if self.backwards and not self._is_unchanged():
            self._note_what_is_gone()
        kind = "fresh"
        if self._leftovers:
            self._leftovers.check()
            kind = self._kind_of_new()
        if self.backwards and kind == "stale":  # what was new was cleared
            self._lose(self._part_by)
        if self.backwards:
            return "scaled" if self.is_scaled else kind
        if self._lost_by and (kind == "stale" or not self._has_numbers()):
            self.cleared_by = self._lost_by if self._was_finite() else "not finite"
            if kind != "stale":
                self._leftovers.clear()
            return "cleared"
        self.parts = {}
        if self._leftovers.is_nothing(self._leftovers.marks()):
            return "none"
        if kind == "stale" or (self._taken and self._is_untouched()):
            if not self._has_other_numbers():
                return "stale"
            self._leftovers.clear()
            return "by hand"
        if self._heard and not self._lost_by and not self._is_clear and self._has_numbers():
            self._choose_witness()
            self._losses, self.backwards = self._heard, len(self._heard)
            return "scaled" if self.is_scaled else "fresh"
        if self._witness.is_cpu and not self._has_numbers():
            self._leftovers.clear()
        return "by hand"

    def loss(self) -> Loss:
        """Return the sum of the losses whose gradient the next step uses, or the last one used."""
        self._losses = [loss_value(self._losses)]  # of a stale gradient it is asked for again
        return self._losses[0]  # type: ignore[no-any-return]

    def mark(self, underway: Backward | None = None) -> GradientMark:
        """Return which gradient there is.

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
            else self.is_scaled and self._is_unchanged(),
        )

    def mark_of_step(self) -> GradientMark:
        """Return which gradient a step is about to use, which may have been cleared just now."""
        mark = self.mark()
        if not self._is_unchanged() and self._is_cleared() and self._is_surely_cleared():
            return mark._replace(clearings=mark.clearings + 1)
        return mark

    def unscaled(self) -> None:
        """Record that a GradScaler has unscaled the gradients."""
        self.is_scaled, self._is_as_before = False, True
        self.after_clipping()

    def before_clipping(self, underway: Backward | None) -> GradientMark:
        """Return which gradient is about to be clipped, as `mark` does."""
        self._is_as_before = self._is_unchanged()
        self._leftovers.prepare()
        return self.mark(underway)

    def after_clipping(self) -> None:
        """Look at what a clipping has changed, which is no clearing."""
        if self._is_as_before:
            self._is_as_before = False
            self._look()
            if self._seen is self._stepped_gradient:
                self._stepped_size = size(self._seen)
            self._leftovers.keep()
            if self._around is not None and self._has_branches:
                self._around = self._leftovers.marks()
            if self._after_step is not None and not self.backwards:
                self._after_step = self._leftovers.marks()

    def stepped(self) -> None:
        """Record that a step was taken."""
        if self._witness.grad is None:
            self._choose_witness()
        self._taken += 1
        self._reached_before = self._reached
        is_known = self._heard and self._taken > 1 and not self._leaves_gradients
        self._heard, self.backwards = [], 0
        self._is_clear, self._lost_by, self._lost_gradient = False, "", None
        self._look()
        self._stepped_gradient, self._stepped_size = self._seen, size(self._seen)
        self._after_step = None if is_known else self._leftovers.marks()
        self._leftovers.step(self._after_step)
        self._around = None

    # around a backward

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

    def _note_what_is_left(self) -> None:
        """Record the gradients that were not cleared before the first backward since the last step."""
        self._around = now = self._leftovers.marks()
        if self._is_cleared():
            self._count_clearing()
        is_nothing = self._leftovers.is_nothing(now)
        is_replaced = self._witness.grad is not None and self._witness.grad is not self._stepped_gradient
        if self._taken and not is_nothing and not is_replaced:
            self._leftovers.find(now, self._after_step if self._leaves_gradients else None, self._witness)
        self._is_clear = is_nothing or (bool(self._taken) and not is_replaced and not self._leftovers)
        self._leaves_gradients = self._leaves_gradients or not is_nothing

    def _note_clearing(self) -> None:
        """Record a clearing between two backwards whose gradients one step would use."""
        if self._leftovers:
            self._leftovers.check()
        if not self._has_branches:
            if not self._is_cleared():
                return
        else:
            before, self._around = self._around, self._leftovers.marks()
            if before is None or not self._leftovers.are_gone(before, self._around):
                return
        self._count_clearing()
        self._lose("by hand")
        self._is_clear = not self._leftovers

    def _is_reached(self) -> bool:
        """Return whether a backward has changed any gradient.

        From the first one on that has not reached the witness all gradients are looked at around each:
        several may share but a trunk.
        """
        if not self._has_branches and self._witness.grad is not None and not self._is_unchanged():
            self._around = None
            return True
        before = self._around
        self._has_branches = True
        self._around = now = self._leftovers.marks()
        is_reached = now != before
        if before is None and self._is_clear:  # nobody looked; but what is not zero is new
            is_reached = self._has_numbers()
        if is_reached and self._is_unchanged():  # follow one that was reached, of the first few
            parameters = enumerate(self.parameters)
            changed = (k for k, p in parameters if (now[k] != before[k] if before else not is_zero(p)))
            self._choose_witness(list(itertools.islice(changed, FEW)))
        return is_reached

    def _note_the_rest(self) -> None:
        """Look at the gradients again at the end of a backward within which a step was taken."""
        if not self._is_unchanged():
            self._is_clear = False
            self._look()
        if self._after_step is not None:
            self._after_step = self._leftovers.marks()
        if self._has_branches:
            self._around = self._leftovers.marks()

    # before a step

    def _note_what_is_gone(self) -> None:
        """Record gradients cleared by hand between the last backward and a step."""
        if self._witness.grad is None:
            if any(p.grad is not None for p in self.parameters):
                self._choose_witness()  # the others have theirs
                self._look()
                return
        elif not self._size or not self._is_cleared() or self._has_numbers():
            return
        self._leftovers.clear()
        self._clearings += 1
        self._lose("by hand")
        self._look()

    def _kind_of_new(self) -> str:
        """Return the kind of most new gradients, ``stale`` if there is none; note `parts`."""
        old, added, new = self._leftovers.kinds()
        found = {"stale": old, "accumulated": added if new else []}
        self.parts = {kind: places for kind, places in found.items() if places}
        if not new and not added:
            return "stale" if old else "fresh"
        return "accumulated" if len(added) >= new else "fresh"

    def _lose(self, by: str) -> None:
        """Record the clearing of gradients that a backward has computed since the last step."""
        if self.backwards:
            self._lost_by = by
            self._lost_gradient = self._seen if self._seen is not self._witness.grad else None
        self.backwards = 0

    def _was_finite(self) -> bool:
        """Return whether the witness's gradient was finite before it was cleared, as far as that is known."""
        if self._size is not None:
            return math.isfinite(self._size)
        return self._lost_gradient is None or bool(numbers(self._lost_gradient).isfinite().all())

    def _is_untouched(self) -> bool:
        """Return whether the gradients that there are are what they were after the last step."""
        witness = self._witness.grad
        if witness is None or witness is not self._stepped_gradient:
            return False
        if self._after_step is None:
            return self._is_unchanged()
        pairs = zip(self._after_step, self._leftovers.marks(), strict=True)
        return all(now in (before, NO_GRADIENT) for before, now in pairs)

    def _has_other_numbers(self) -> bool:
        """Return whether the witness's gradient was written since the last step past its version counter.

        `grad.data`, the array of `grad.numpy()` and its storage do not count a change.
        """
        known, gradient = self._stepped_size, self._witness.grad
        return known is not None and gradient is self._stepped_gradient and size(gradient) != known

    def _note_gradients(self) -> None:
        if self.ungraded:
            self.ungraded = {k for k in self.ungraded if self.parameters[k].grad is None}

    # the witness

    def _look(self) -> None:
        gradient = self._seen = self._witness.grad
        self._version = -1 if gradient is None else version(gradient)

    def _is_unchanged(self) -> bool:
        """Return whether the witness's gradient is what it was when it was last looked at."""
        gradient = self._witness.grad
        return gradient is self._seen and (gradient is None or version(gradient) == self._version)

    def _is_cleared(self) -> bool:
        """Return whether the witness's gradient is no longer what it was, or is zero.

        On an accelerator, reading whether it is zero would wait for the device: there a change is taken for
        a clearing.
        """
        gradient = self._witness.grad
        if gradient is None or gradient is not self._seen:
            return True
        is_changed = version(gradient) != self._version
        if not gradient.is_cpu:
            return is_changed
        return (is_changed or bool(self._size)) and not has_numbers(gradient)

    def _is_surely_cleared(self) -> bool:
        """Return whether a gradient that `_is_cleared` is gone or zero, not only another one."""
        gradient = self._witness.grad
        return gradient is None or (gradient is self._seen and gradient.is_cpu)

    def _count_clearing(self) -> None:
        if self._is_surely_cleared():
            self._clearings += 1
        else:
            self._changes += 1

    def _choose_witness(self, places: Collection[int] = ()) -> None:
        """Follow a parameter that has a gradient, if any has, of those at some places, or of all."""
        among = [self.parameters[k] for k in places] or self.parameters
        having = [p for p in among if p.grad is not None]
        self._witness = min(having or among, key=cost)

    def _has_numbers(self) -> bool:
        """Return whether any gradient is not zero."""
        return not all(map(is_zero, self.parameters))
