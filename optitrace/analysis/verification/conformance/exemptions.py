"""What a sound class may do that keeps a claim from being held against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from optitrace.analysis.verification.conformance.trial import (
    STEPS,
    SUMMATION,
    Arguments,
    Trial,
    close,
    differ,
    same,
)

APPROACH = 0.999
"""Two weights approach each other if their distance falls below this part of what it was."""

LARGER = 10
"""How many times the lr is at which a weight would change its sign if it could."""

FEW = 3
"""How many steps tell whether weights shrink by the same part in each."""


def draws_random_numbers(trial: Trial, arguments: Arguments) -> bool:
    """Return whether a class draws random numbers, also from generators of its own."""
    operations = _RandomOperations()
    with operations:
        path = trial.run(arguments)
    return operations.seen or differ(path, trial.run(arguments, seed=STEPS + 1)) is not None


def couples_parameters(trial: Trial, arguments: Arguments) -> bool:
    """Return whether a parameter moves another way where there is a second one, as with a norm over all."""
    together = trial.run(arguments)
    return not all(
        close(with_other.weights[index], alone.weights[index])
        for index in range(len(trial.shapes))
        for with_other, alone in zip(together, trial.run(arguments, order=(index,)), strict=True)
    )


def moves_none_alone(trial: Trial, arguments: Arguments) -> bool:
    """Return whether no parameter moves where there is no second one, as where they are taken in pairs."""
    for index in range(len(trial.shapes)):
        bench = trial.bench(arguments, order=(index,))
        start = bench.snapshot()
        for _ in range(STEPS):
            bench.step()
        if not all(map(same, start, bench.snapshot())):
            return False
    return True


def keeps_signs(trial: Trial, arguments: Arguments) -> bool:
    """Return whether no weight changes its sign even at a large lr, as where it is only multiplied."""
    large = {"lr": LARGER * trial.value("lr")} if trial.has("lr") and trial.value("lr") else {}
    bench = trial.bench({**large, **arguments})
    start = bench.snapshot()
    for _ in range(STEPS):
        bench.step()
        if any(bool((a * b < 0).any()) for a, b in zip(start, bench.snapshot(), strict=True)):
            return False
    return True


def pulls_elsewhere(trial: Trial, arguments: Arguments) -> bool:
    """Return whether the weights are drawn to values other than zero, as by an anchor or a bound.

    Without a gradient, weights that start mirrored then approach each other, and do not end mirrored. A
    class that moves both by the same does not draw them anywhere.
    """
    there, back = (trial.bench(arguments, change=change) for change in (torch.clone, torch.neg))
    first = _distances(there.snapshot(), back.snapshot())
    for _ in range(STEPS):
        there.step(0.0)
        back.step(0.0)
    ends, mirrored = there.snapshot(), [-weights for weights in back.snapshot()]
    last = _distances(ends, back.snapshot())
    return not all(map(close, ends, mirrored)) and bool((last < APPROACH * first).any())


def settles(trial: Trial, arguments: Arguments) -> bool:
    """Return whether a class puts weights where it wants them in one step, and leaves them there.

    A bound or a norm that weights are to have is met after a step without a gradient; a new optimizer
    has nothing to move then.
    """
    bench = trial.bench(arguments)
    bench.step(0.0)
    met = bench.snapshot()
    bench = trial.bench(arguments)
    with torch.no_grad():
        for weights, there in zip(bench.weights, met, strict=True):
            weights.copy_(there)
    for _ in range(STEPS):
        bench.step(0.0)
    return all(map(close, bench.snapshot(), met))


def shrinkage(trial: Trial, arguments: Arguments) -> float:
    """Return the part of every weight that each step without a gradient takes away; 0 if they differ."""
    bench = trial.bench(arguments, lr_factor=1.0)
    parts = []
    for _ in range(FEW):
        before = _flat(bench.snapshot())
        bench.step(0.0)
        parts.append(1 - _flat(bench.snapshot()) / before)
    found = torch.stack(parts)
    part = float(found.mean())
    return part if part > 0 and torch.allclose(found, torch.full_like(found, part), rtol=SUMMATION) else 0.0


def _distances(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    return (_flat(one) - _flat(other)).abs()


def _flat(weights: Sequence[Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in weights])


class _RandomOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notices operations of torch that draw random numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: bool = False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.seen = self.seen or torch.Tag.nondeterministic_seeded in function.tags
        return function(*args, **(kwargs or {}))
