"""Which backwards the gradient of each step is made of, and which were cleared before any step used them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import Parameter

from optitrace.monitoring.backward_tracker import Backward
from optitrace.records.training import BackwardCount, Tally, one_more

MOST_REMEMBERED = 64
"""How many backwards of a step are remembered one by one: what follows from them follows from so many."""

MOST_PATTERNS = 32
"""How many different counts are told apart; of others, only those of known ones are counted."""

MOST_GRAPHS = 8
"""Of how many cleared backwards the graphs are searched for inputs that want a gradient."""

MOST_NODES = 4096
"""How many nodes of a graph are visited, at most."""

PLAIN = (1, 0)
"""How many backwards most steps use, and how many they waste."""

DIVIDED = frozenset(("DivBackward0", "MulBackward0"))
"""What computes a loss that was divided by a number of micro-batches."""


@dataclass(frozen=True, slots=True)
class _TakenStep:
    """The last step, as long as other optimizers may still use what it has not.

    Attributes:
        step: its number.
        used: how many backwards it used.
        cleared: how many were cleared before it.
        backwards: the first of those, unless they were for something else.
        foreign: pairs of another optimizer that had stepped on a part of the gradient, and a backward after
            that which is a part, too.
    """

    step: int
    used: int
    cleared: int
    backwards: tuple[Backward, ...]
    foreign: tuple[tuple[int, Backward], ...]


class BackwardUsage:
    """Counts the backwards that the steps of one optimizer use, and those that none does.

    A backward whose gradient is cleared is not wasted where another optimizer has stepped on it, where it
    was for the gradient of an input, where the program has moved weights by it, as SAM does, or has put a
    gradient of its own in the place of what backwards made.

    Attributes:
        read_weights: reads a few weights; None if none can be read.
        mixed: the steps whose gradient has that of a backward on which another optimizer had stepped before
            the next one began, and of one on which that did not step.
        undivided: the steps that use several backwards of losses of one kind, none of which was divided.
        uncleared: the steps that called a closure several times, which never cleared the gradients.
    """

    def __init__(self) -> None:
        self.read_weights: Callable[[], Tensor] | None = None
        self._used: list[Backward] = []
        self._cleared: list[Backward] = []
        self._used_count = self._cleared_count = 0
        self._waiting: _TakenStep | None = None
        self._weights: Tensor | None = None
        self._is_moved_by_hand = self._is_for_inputs = self._looks_at_weights = False
        self._is_measured = False
        self._searched = 0
        self._tallies: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._evaluations = 0
        self.mixed: Tally | None = None
        self.undivided: Tally | None = None
        self.uncleared: Tally | None = None

    @property
    def unused(self) -> int:
        """Of how many backwards the gradient is that no step has used so far."""
        return self._used_count

    def reached(self, backward: Backward) -> None:
        """Record that a backward has computed gradients of the optimizer's parameters."""
        if self._looks_at_weights and self.read_weights is not None:
            before, self._weights = self._weights, self.read_weights()
            self._is_moved_by_hand |= before is not None and not torch.equal(before, self._weights)
        self._is_measured = False
        backward.reached.add(id(self))
        self._used_count += 1
        if len(self._used) < MOST_REMEMBERED:
            self._used.append(backward)

    def measured(self) -> None:
        """Record that the program has measured the gradient; if it is cleared then, it was for that."""
        self._is_measured = True

    def cleared(self) -> None:
        """Record that the gradients were cleared before a step."""
        self._looks_at_weights = True
        if self._is_measured:
            self._used, self._used_count = [], 0
            return
        for backward in self._used:
            self._search(backward)
        self._cleared_count += self._used_count
        self._cleared += self._used[: MOST_REMEMBERED - len(self._cleared)]
        self._used, self._used_count = [], 0

    def evaluated(self) -> None:
        """Record that the step has called its closure."""
        self._evaluations += 1

    def stepped(self, step: int, *, is_rewritten: bool) -> None:
        """Count a step.

        Args:
            step: its number.
            is_rewritten: whether the program has changed the gradients since the last backward.
        """
        used, count = self._used, self._used_count
        if self._waiting is not None:
            self.settle()
        if count == 1 and not (self._cleared_count or self._evaluations or used[0].used_by):
            used[0].used_by[id(self)] = used[0].tracker.begun  # as most steps are
            self._used, self._used_count, self._weights = [], 0, None
            self._count(step, PLAIN)
            return
        is_meant = self._is_moved_by_hand or self._is_for_inputs or is_rewritten or self._evaluations > 1
        if self._evaluations > 1 and not self._cleared_count and count >= self._evaluations:
            self.uncleared = one_more(self.uncleared, step)
            count //= self._evaluations
        elif count > 1 and len(roots := {backward.root for backward in used}) == 1 and not roots & DIVIDED:
            self.undivided = one_more(self.undivided, step)
        self._waiting = _TakenStep(
            step, count, self._cleared_count, () if is_meant else tuple(self._cleared), self._foreign(used)
        )
        for backward in used:
            backward.used_by[id(self)] = backward.tracker.begun
        self._used, self._cleared = [], []
        self._used_count = self._cleared_count = self._evaluations = 0
        self._weights, self._is_moved_by_hand = None, False

    def counts(self) -> tuple[BackwardCount, ...]:
        """Return how many backwards the settled steps have used and wasted, by the first such steps."""
        found = [
            BackwardCount(*key, Tally(count, first), last)
            for key, (count, first, last) in self._tallies.items()
        ]
        return tuple(sorted(found, key=lambda one: one.steps.first))

    def settle(self) -> None:
        """Count the last step, once other optimizers have used what this one has not."""
        if (taken := self._waiting) is None:
            return
        self._waiting = None
        if any(user not in later.used_by for user, later in taken.foreign):
            self.mixed = one_more(self.mixed, taken.step)
        known = [backward for backward in taken.backwards if not backward.used_by]
        wasted = taken.cleared - (len(taken.backwards) - len(known)) if known else 0
        self._count(taken.step, (taken.used, wasted))

    def _count(self, step: int, key: tuple[int, int]) -> None:
        count, first, _ = self._tallies.get(key, (0, step, step))
        if count or len(self._tallies) < MOST_PATTERNS:
            self._tallies[key] = count + 1, first, step

    def _foreign(self, used: Sequence[Backward]) -> tuple[tuple[int, Backward], ...]:
        """Return the backwards that came after another optimizer had stepped on one before, with that."""
        return tuple(
            (user, later)
            for backward in used
            for user, begun in backward.used_by.items()
            for later in used
            if user != id(self) and later.number >= begun
        )

    def _search(self, backward: Backward) -> None:
        """Look whether a cleared backward was for the gradient of an input."""
        backward.tracker.keeps_graphs = self._searched < MOST_GRAPHS
        if backward.node is not None and backward.tracker.keeps_graphs:
            self._searched += 1
            self._is_for_inputs = self._is_for_inputs or _leads_to_input(backward.node)
            backward.node = None


def _leads_to_input(root: Node) -> bool:
    """Return whether a graph computes the gradient of a tensor that is no parameter."""
    waiting, seen = [root], {root}
    while waiting and len(seen) < MOST_NODES:
        node = waiting.pop()
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor) and not isinstance(leaf, Parameter):
            return True
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                waiting.append(child)
    return False
