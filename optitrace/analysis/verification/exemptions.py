"""Exemptions: what a sound class may do that makes a claim inapplicable to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from optitrace.analysis.verification.trial import (
    STEPS,
    SUMMATION,
    Arguments,
    Trial,
    close,
    first_difference,
    same,
)

APPROACH = 0.999
"""Two weights approach each other if their distance falls below this fraction of what it was."""

LARGER = 10
"""Multiple of the lr at which a weight would change its sign if it could."""

FEW = 3
"""After how many steps it is clear whether weights shrink by the same fraction in each."""


@dataclass(frozen=True, slots=True)
class Exemption:
    """A reason why a claim does not apply to a class.

    Attributes:
        reason: a clause about the class.
        applies: returns whether that is so under some arguments.
    """

    reason: str
    applies: Callable[[Trial, Arguments], bool]


def settles(trial: Trial, arguments: Arguments) -> bool:
    """Return whether a class puts weights where it wants them in one step, and leaves them there.

    A bound or a norm that weights are to have is met after a step without a gradient; a new optimizer
    has nothing to move then.
    """
    run = trial.prescribed_run(arguments)
    run.step(0.0)
    met = run.snapshot()
    run = trial.prescribed_run(arguments)
    with torch.no_grad():
        for weights, there in zip(run.weights, met, strict=True):
            weights.copy_(there)
    for _ in range(STEPS):
        run.step(0.0)
    return all(map(close, run.snapshot(), met))


def shrinkage(trial: Trial, arguments: Arguments) -> float:
    """Return the fraction of every weight that each step without a gradient removes; 0 if they differ."""
    run = trial.prescribed_run(arguments, lr_factor=1.0)
    fractions = []
    for _ in range(FEW):
        before = _flat(run.snapshot())
        run.step(0.0)
        fractions.append(1 - _flat(run.snapshot()) / before)
    found = torch.stack(fractions)
    mean = float(found.mean())
    return mean if mean > 0 and torch.allclose(found, torch.full_like(found, mean), rtol=SUMMATION) else 0.0


def _draws_random_numbers(trial: Trial, arguments: Arguments) -> bool:
    """Return whether a class draws random numbers, also from generators of its own."""
    operations = _RandomOperations()
    with operations:
        path = trial.run(arguments)
    return operations.seen or first_difference(path, trial.run(arguments, seed=STEPS + 1)) is not None


def _couples_parameters(trial: Trial, arguments: Arguments) -> bool:
    """Return whether a parameter moves differently next to a second one, as with a norm over all."""
    together = trial.run(arguments)
    return not all(
        close(with_other.weights[index], alone.weights[index])
        for index in range(len(trial.shapes))
        for with_other, alone in zip(together, trial.run(arguments, order=(index,)), strict=True)
    )


def _moves_none_alone(trial: Trial, arguments: Arguments) -> bool:
    """Return whether no parameter moves where there is no second one, as where they are used in pairs."""
    for index in range(len(trial.shapes)):
        run = trial.prescribed_run(arguments, order=(index,))
        start = run.snapshot()
        for _ in range(STEPS):
            run.step()
        if not all(map(same, start, run.snapshot())):
            return False
    return True


def _keeps_signs(trial: Trial, arguments: Arguments) -> bool:
    """Return whether no weight changes its sign even at a large lr, as where it is only multiplied."""
    large = {"lr": LARGER * trial.value("lr")} if trial.has("lr") and trial.value("lr") else {}
    run = trial.prescribed_run({**large, **arguments})
    start = run.snapshot()
    for _ in range(STEPS):
        run.step()
        if any(bool((a * b < 0).any()) for a, b in zip(start, run.snapshot(), strict=True)):
            return False
    return True


def _pulls_elsewhere(trial: Trial, arguments: Arguments) -> bool:
    """Return whether the weights are pulled to values other than zero, as by an anchor or a bound.

    Without a gradient, weights that start mirrored then approach each other, and do not end mirrored. A
    class that moves both by the same does not pull them anywhere.
    """
    there, back = (trial.prescribed_run(arguments, change=change) for change in (torch.clone, torch.neg))
    first = _distances(there.snapshot(), back.snapshot())
    for _ in range(STEPS):
        there.step(0.0)
        back.step(0.0)
    ends, mirrored = there.snapshot(), [-weights for weights in back.snapshot()]
    last = _distances(ends, back.snapshot())
    return not all(map(close, ends, mirrored)) and bool((last < APPROACH * first).any())


RANDOM = Exemption("it draws random numbers", _draws_random_numbers)
COUPLED = Exemption("its parameters affect each other", _couples_parameters)
PAIRS = Exemption("it takes parameters in pairs, and moves none alone", _moves_none_alone)
SIGNS = Exemption("it never changes the sign of a weight", _keeps_signs)
ELSEWHERE = Exemption("it pulls weights toward values other than zero", _pulls_elsewhere)


def _distances(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    return (_flat(one) - _flat(other)).abs()


def _flat(weights: Sequence[Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in weights])


class _RandomOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records whether torch draws random numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: bool = False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.seen = self.seen or torch.Tag.nondeterministic_seeded in function.tags
        return function(*args, **(kwargs or {}))
