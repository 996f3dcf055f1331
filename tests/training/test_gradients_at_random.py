"""The kinds of gradients in programs made at random, against what each gradient is made of."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
import torch
from torch import nn

from optitrace.monitoring.backward_tracker import Backward, BackwardTracker
from optitrace.monitoring.gradient_provenance import GradientProvenance

ONLY = range(300)
"""The seeds of the programs."""

STEPS = 60

MENUS = {
    "zero_grad": ("backward", "backward of some", "zero_grad", "zero_grad to zero", "step"),
    "by hand": ("backward", "backward of some", "zero_grad", "by hand", "clip", "step"),
    "to zero by hand": ("backward", "by hand to zero", "step"),
    "a part": ("backward", "zero_grad", "zero_grad of a part", "step"),
}
"""What programs do."""


class Program:
    """A program whose every gradient is known by the backwards that it is the sum of."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.parameters = [
            nn.Parameter(torch.ones(self.random.randint(1, 5))) for _ in range(self.random.randint(1, 4))
        ]
        self.all = nn.ParameterList(self.parameters)
        self.part = nn.ParameterList(self.parameters[: self.random.randint(1, len(self.parameters))])
        self.history = GradientProvenance(self.parameters)
        self.made_of: list[set[int] | None] = [None] * len(self.parameters)
        self.backwards = self.before = self.taken = 0
        self.lost = False

    def do(self, what: str) -> None:
        """Do something, and check the kind of the gradient if that is a step."""
        if what == "step":
            self.step()
        elif what.startswith("backward"):
            is_some = what.endswith("some")
            self.backward([k for k in range(len(self.made_of)) if not is_some or self.random.random() < 0.6])
        elif what == "clip":
            self.history.before_clipping(None)
            for p in self.parameters:
                if p.grad is not None:
                    p.grad.mul_(0.5)
            self.history.after_clipping()
        else:
            self.clear(what)

    def backward(self, places: Iterable[int]) -> None:
        self.backwards += 1
        self.history.before_backward()
        sums = [self.parameters[k].sum() for k in places]
        if sums:
            torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
        self.history.after_backward(Backward(1.0, False, BackwardTracker()))
        for k in places:
            self.made_of[k] = {*(self.made_of[k] or ()), self.backwards}

    def clear(self, how: str) -> None:
        owner = self.part if how.endswith("part") else self.all
        for k, p in enumerate(owner):
            if p.grad is not None:
                if how.endswith("zero"):
                    p.grad.zero_()
                    self.made_of[k] = set()
                else:
                    p.grad = None
                    self.made_of[k] = None
        if how.startswith("zero_grad"):
            self.history.zeroed(owner, owner.parameters)

    def kind_of(self, made_of: set[int] | None) -> str:
        if not made_of:
            return "none" if made_of is None else "zero"
        is_new = max(made_of) > self.before
        is_old = min(made_of) <= self.before and self.taken > 0
        return "accumulated" if is_new and is_old else "fresh" if is_new else "stale"

    def step(self) -> None:
        kinds = [self.kind_of(made_of) for made_of in self.made_of]
        places = {kind: [k for k, one in enumerate(kinds) if one == kind] for kind in set(kinds)}
        fresh, added, stale = (places.get(kind, []) for kind in ("fresh", "accumulated", "stale"))
        found = self.history.kind()

        if fresh or added:
            assert found == ("accumulated" if added and len(added) >= len(fresh) else "fresh")
            parts = {"stale": stale, "accumulated": added if fresh else []}
            assert dict(self.history.parts) == {kind: where for kind, where in parts.items() if where}
        elif stale:
            assert found in ("stale", "by hand", "cleared")
        else:
            assert found in ("none", "cleared", "by hand", "stale")
            assert "zero" in kinds or found in ("none", "cleared")
        self.history.stepped(1)
        self.before, self.taken = self.backwards, self.taken + 1


@pytest.mark.parametrize("menu", MENUS)
def test_the_kinds_are_those_of_what_the_gradients_are_made_of(menu: str) -> None:
    for seed in ONLY:
        program = Program(seed)
        for _ in range(STEPS):
            program.do(program.random.choice(MENUS[menu]))
