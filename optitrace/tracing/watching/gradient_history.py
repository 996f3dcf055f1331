"""Where the gradient of a step comes from: told from one small parameter, whose gradient is followed closely.

torch counts the changes of a tensor. A backward adds to the gradient that is there, which counts as one, or
makes a new one; clearing takes it away, or sets it to zero, which counts too. So whoever looks at a gradient
before and after each backward and each step knows what happened to it, without reading a number of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from optitrace.tracing.watching.backwards import Backward
from optitrace.tracing.watching.losses import Loss, add, loss_value
from optitrace.tracing.watching.sharding import local
from optitrace.tracing.watching.torch_internals import version


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


class GradientHistory:
    """Follows the gradients of an optimizer's parameters.

    Attributes:
        is_scaled: whether they are those of a loss that a GradScaler multiplied, and not divided since.
        backwards: how many backwards the gradient of the next step has.
    """

    def __init__(self, parameters: Sequence[Tensor], heard: Backward | None = None) -> None:
        """Begin to follow.

        Args:
            parameters: of the optimizer.
            heard: where gradients come from that are there already, as far as that was heard.
        """
        self._parameters = parameters
        self._witness = min(parameters, key=_cost)
        self._gradient = self._witness.grad
        self._version = -1 if self._gradient is None else version(self._gradient)
        self._stepped_gradient: Tensor | None = None
        self._versions = self._versions_now()
        self._taken = 0
        self._was_cleared = True
        self._is_told = False
        self._has_branches = False
        self._around: list[int] = []
        self._heard: list[Any] = []
        self._losses: list[Any] = []
        self.is_scaled = False
        self.backwards = 0
        self._clearings = self._changes = self._reached = self._reached_before = 0
        self._is_as_before = False
        if heard is not None and any(p.grad is not None for p in parameters):
            self._choose_witness()
            self._look()
            self._losses, self.is_scaled, self.backwards = [heard.loss], heard.is_scaled, 1
            self._is_told = True

    def follow(self, parameters: Sequence[Tensor]) -> None:
        """Go on with other parameters, such as those of before and some more."""
        self._parameters = parameters
        if not any(self._witness is p for p in parameters):
            self._choose_witness()

    def before_backward(self) -> None:
        """Note whether the gradient was cleared since it was last looked at."""
        self._is_told = False
        if self._heard or self._has_branches:
            self._note_clearing_of_any()
        elif self._witness.grad is None:  # as zero_grad leaves it
            self._gradient, self._version = None, -1
            self._was_cleared, self.backwards = True, 0
            self._clearings += 1
        else:
            self._note_clearing()

    def after_backward(self, backward: Backward) -> None:
        """Note a loss, if its gradient went to these parameters; it is read when it is asked for.

        For a step within a backward this is told before that is done, and then once more.
        """
        if self._is_told:
            self._note_clearing()
            return
        self._is_told = True
        add(self._heard, backward.loss)
        gradient = self._witness.grad
        is_reached = gradient is not None and (
            gradient is not self._gradient or version(gradient) != self._version
        )
        if not is_reached and not self._has_reached_others():
            return
        if not self.backwards:
            self._losses = []
        add(self._losses, backward.loss)
        self.is_scaled = backward.is_scaled
        self.backwards += 1
        self._reached += 1
        self._look()

    def kind(self) -> str:
        """Return which of `GRADIENT_KINDS` the gradient of the step is that is about to be taken."""
        if not self.backwards:
            if all(p.grad is None for p in self._parameters):
                return "none"
            if self._heard and not self._is_untouched():
                self._choose_witness()
                self._losses, self.backwards, self._was_cleared = self._heard, len(self._heard), True
        if self.backwards:
            if self.is_scaled:
                return "scaled"
            return "fresh" if self._was_cleared or not self._taken else "accumulated"
        if self._taken and self._is_untouched():
            return "stale"
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

    def before_clipping(self, underway: Backward | None) -> GradientMark:
        """Return which gradient is about to be clipped, as `mark` does."""
        self._is_as_before = self._is_unchanged()
        return self.mark(underway)

    def after_clipping(self) -> None:
        """Look at what a clipping has changed, which is no clearing."""
        if self._is_as_before:
            self._is_as_before = False
            self._look()
            if self._has_branches and self._gradient is None:
                self._around = self._versions_now()

    def stepped(self) -> None:
        """Note that a step was taken."""
        if self._witness.grad is None:
            self._choose_witness()
        self._taken += 1
        self._reached_before = self._reached
        self._was_cleared = False
        self._heard, self.backwards = [], 0
        self._look()
        self._stepped_gradient = self._gradient
        self._versions = self._versions_now()

    def _has_reached_others(self) -> bool:
        """Tell whether a backward has changed gradients, though not the witness's.

        From the first such one on all gradients are looked at around each: several may share but a trunk.
        """
        before, self._around = self._around, self._versions_now()
        if len(self._heard) == 1 and not self._has_branches:  # nobody looked at them before it
            before = [-1] * len(self._around) if self._witness.grad is None else self._versions
        self._has_branches = True
        return self._around != before

    def _note_clearing_of_any(self) -> None:
        """Note a clearing where several backwards make a gradient: what one has left is not cleared."""
        now = self._versions_now()
        if not self._has_branches or not self.backwards or now != self._around:
            self._note_clearing()
        self._around = now

    def _note_clearing(self) -> None:
        if self._is_cleared():
            self._was_cleared = True
            self.backwards = 0
            if self._is_surely_cleared():
                self._clearings += 1
            else:
                self._changes += 1
        self._look()

    def _is_unchanged(self) -> bool:
        """Tell whether the witness's gradient is what it was when it was last looked at."""
        gradient = self._witness.grad
        return gradient is self._gradient and (gradient is None or gradient._version == self._version)

    def _look(self) -> None:
        gradient = self._gradient = self._witness.grad
        self._version = -1 if gradient is None else version(gradient)

    def _is_cleared(self) -> bool:
        """Tell whether the witness's gradient is no longer what it was, or is zero.

        On an accelerator, reading whether it is zero would wait for the device: there a change is taken for
        a clearing.
        """
        gradient = self._witness.grad
        if gradient is None or gradient is not self._gradient:
            return True
        if version(gradient) == self._version:
            return False
        return gradient.device.type != "cpu" or not bool(local(gradient).any())

    def _is_surely_cleared(self) -> bool:
        """Tell whether a gradient that `_is_cleared` is gone or zero, not only another one."""
        gradient = self._witness.grad
        return gradient is None or (gradient is self._gradient and gradient.is_cpu)

    def _is_untouched(self) -> bool:
        """Tell whether all gradients are what they were after the last step."""
        if self._witness.grad is None or self._witness.grad is not self._stepped_gradient:
            return False
        return self._versions == self._versions_now()

    def _versions_now(self) -> list[int]:
        """Return how often each gradient was changed, -1 of a parameter that has none."""
        return [-1 if (g := p.grad) is None else version(g) for p in self._parameters]

    def _choose_witness(self) -> None:
        """Follow a parameter that has a gradient, if any has."""
        having = [p for p in self._parameters if p.grad is not None]
        self._witness = min(having or self._parameters, key=_cost)


def _cost(parameter: Tensor) -> tuple[bool, int]:
    """Return what it costs to follow a parameter: the gradient of a small one is soon read."""
    here = local(parameter).numel()
    return not parameter.requires_grad or not here, here
