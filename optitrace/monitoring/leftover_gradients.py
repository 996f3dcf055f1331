"""Gradients that were left by a step and not cleared before the next backward."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter, eq, is_
from typing import TypeAlias

from torch import Tensor

from optitrace.monitoring.tensor_values import has_numbers, is_zero, local
from optitrace.monitoring.torch_internals import version

Mark: TypeAlias = tuple[int, int]
"""A gradient at a moment: which tensor it is, and how often that was changed."""

NO_GRADIENT: Mark = (0, -1)
"""The mark of a parameter that has none."""

_gradient = attrgetter("grad")


class LeftoverGradients:
    """Follows the gradient of each parameter that had one before the first backward since the last step."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        """Follow none yet; the arguments are the parameters of an optimizer."""
        self._parameters = parameters
        self._nothing = [NO_GRADIENT] * len(parameters)
        self._old: dict[int, Mark] = {}
        self._added: dict[int, Mark] = {}
        self._zeros: dict[int, Mark] = {}

    def __bool__(self) -> bool:
        """Return whether any was not cleared."""
        return bool(self._old or self._added)

    def follow(self, parameters: Sequence[Tensor], places: Mapping[int, int]) -> None:
        """Go on with other parameters; `places` has the new place of each that is one of those of before."""
        self._parameters, self._nothing = parameters, [NO_GRADIENT] * len(parameters)
        for marks in (self._old, self._added, self._zeros):
            moved = {places[k]: mark for k, mark in marks.items() if k in places}
            marks.clear()
            marks.update(moved)

    def marks(self) -> list[Mark]:
        """Return the mark of each parameter's gradient; see `is_nothing`."""
        gradients: list[Tensor | None] = list(map(_gradient, self._parameters))
        if all(map(is_, gradients, repeat(None))):
            return self._nothing
        return [NO_GRADIENT if g is None else (id(g), version(g)) for g in gradients]

    def is_nothing(self, marks: Sequence[Mark]) -> bool:
        """Return whether marks say that no parameter has a gradient."""
        return marks is self._nothing

    def find(self, now: Sequence[Mark], after_step: Sequence[Mark] | None, sample: Tensor) -> None:
        """Find those that were not cleared: still what they were after the step, or changed and not zero.

        Args:
            now: the marks before the first backward.
            after_step: those after the step; None if nobody has looked at them, and all are read.
            sample: the parameter that tells whether they are zero if all were changed.
        """
        self._old, self._added = {}, {}
        if after_step is None:
            self._old = {
                k: m for k, m in enumerate(now) if m != NO_GRADIENT and not is_zero(self._parameters[k])
            }
        elif any(map(eq, now, after_step)) or not _is_surely_zero(sample):
            changed = [k for k, m in enumerate(now) if m != after_step[k] and m[0] == after_step[k][0]]
            kept = set() if self._are_zero(changed) else set(changed)
            zeros = self._zeros
            self._old = {
                k: m
                for k, m in enumerate(now)
                if k in kept or (m == after_step[k] and zeros.get(k) != m and not self._is_zero(k, m))
            }
        self._zeros = {k: m for k, m in enumerate(now) if m != NO_GRADIENT and k not in self._old}

    def clear(self, places: Iterable[int] | None = None) -> None:
        """Record that gradients were cleared, at some places; all if none are given."""
        for k in range(len(self._parameters)) if places is None else places:
            self._old.pop(k, None)
            self._added.pop(k, None)
            if (mark := self._mark(k)) != NO_GRADIENT:
                self._zeros[k] = mark

    def reach(self) -> None:
        """Record which of them a backward has changed."""
        for k, mark in list(self._old.items()):
            if (now := self._mark(k)) != mark:
                del self._old[k]
                self._added[k] = now
        if self._added:
            self._added = {k: self._mark(k) for k in self._added}

    def prepare(self) -> None:
        """Give up what was zero and is no more, for `keep`."""
        self._zeros = {k: mark for k, mark in self._zeros.items() if self._mark(k) == mark}

    def keep(self) -> None:
        """Look at them after something has changed gradients that is neither a backward nor a clearing."""
        self._old, self._added, self._zeros = (
            {k: self._mark(k) for k in marks} for marks in (self._old, self._added, self._zeros)
        )

    def step(self, after_step: Sequence[Mark] | None) -> None:
        """Record that a step was taken; what was zero before is known as that, if anybody looks after it."""
        self._old, self._added = {}, {}
        marks = after_step or self._nothing
        self._zeros = {k: mark for k, mark in self._zeros.items() if marks[k] == mark}

    def check(self) -> None:
        """Give up those that the program itself has cleared or replaced meanwhile."""
        for marks in (self._old, self._added):
            now = {k: self._mark(k) for k in marks}
            changed = [k for k, mark in marks.items() if now[k] != mark and now[k][0] == mark[0]]
            gone = {k for k, mark in marks.items() if now[k][0] != mark[0]}
            gone.update(changed if self._are_zero(changed) else ())
            marks.update(now)
            self.clear(gone)

    def kinds(self) -> tuple[list[int], list[int], int]:
        """Return where a gradient is old, where a backward has added to an old one, and how many are new."""
        old = {*self._old, *self._added}
        new = sum(
            m != NO_GRADIENT and k not in old and self._zeros.get(k) != m for k, m in enumerate(self.marks())
        )
        return sorted(self._old), sorted(self._added), new

    def remaining(self, places: Iterable[int]) -> list[int]:
        """Return those of some places where there is a gradient that was not cleared to zero."""
        marks = ((k, self._mark(k)) for k in places)
        return [k for k, mark in marks if mark != NO_GRADIENT and self._zeros.get(k) != mark]

    def are_gone(self, before: Sequence[Mark], now: Sequence[Mark]) -> bool:
        """Return whether the earlier gradients are all gone, replaced or zero."""
        present = [k for k, mark in enumerate(before) if mark != NO_GRADIENT]
        if not present or any(now[k] == before[k] for k in present):
            return False
        changed = [k for k in present if now[k][0] == before[k][0]]
        return not changed or self._are_zero(changed)

    def _mark(self, place: int) -> Mark:
        gradient = self._parameters[place].grad
        return NO_GRADIENT if gradient is None else (id(gradient), version(gradient))

    def _is_zero(self, place: int, mark: Mark) -> bool:
        """Return whether there is no gradient, or one of zeros, as far as that is known without waiting."""
        gradient = self._parameters[place].grad
        if mark == NO_GRADIENT or gradient is None:
            return True
        return gradient.is_cpu and not has_numbers(gradient)  # `grad.data.zero_()` changes no version

    def _are_zero(self, places: Collection[int]) -> bool:
        """Return whether gradients that were changed are zero, from the smallest; false if there is none."""
        having = [p for k in places if (p := self._parameters[k]).grad is not None]
        return bool(having) and _is_surely_zero(min(having, key=cost))


def cost(parameter: Tensor) -> tuple[bool, int]:
    """Return what it costs to follow a parameter: the gradient of a small one is soon read."""
    here = local(parameter).numel()
    return not parameter.requires_grad or not here, here


def _is_surely_zero(parameter: Tensor) -> bool:
    """Return whether a gradient that was changed is zero; one on an accelerator is taken for that."""
    return parameter.grad is None or not parameter.grad.is_cpu or not has_numbers(parameter.grad)
