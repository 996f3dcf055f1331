"""How much is shown of a training that has very many optimizers: the first few and the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optitrace.errors import printable
from optitrace.records.training import OptimizerTrace

MOST_OPTIMIZERS = 8
"""Of more optimizers than this the first few and the last are shown."""

FIRST_OPTIMIZERS = 3
"""How many the first few are."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The optimizers that are shown.

    Attributes:
        optimizers: those that are.
        gap: the place before which some are left out; None if all are there.
        hidden: those that are left out.
    """

    optimizers: Sequence[OptimizerTrace]
    gap: int | None = None
    hidden: Sequence[OptimizerTrace] = ()

    @property
    def line(self) -> str:
        """How many are left out, which, and how to see them."""
        first, last = (printable(optimizer.name) for optimizer in (self.hidden[0], self.hidden[-1]))
        return f"{len(self.hidden):,} optimizers are hidden, {first} to {last}; --all shows them"


def extent(optimizers: Sequence[OptimizerTrace], *, shows_all: bool = False) -> Extent:
    """Return which of a training's optimizers are shown: all, or the first few and the last of many."""
    if shows_all or len(optimizers) <= MOST_OPTIMIZERS:
        return Extent(optimizers)
    first, hidden, last = optimizers[:FIRST_OPTIMIZERS], optimizers[FIRST_OPTIMIZERS:-1], optimizers[-1]
    return Extent((*first, last), FIRST_OPTIMIZERS, hidden)
