"""What to record of a training."""

from __future__ import annotations

from dataclasses import dataclass

from optitrace.errors import UsageError

INTERVAL = 256
"""From this recorded step on, every so many-th is inspected; before, those of powers of two."""


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """What is to be recorded of each optimizer, beside what is always.

    Attributes:
        every: of the steps only the first and those that are multiples of this.
        first: no step before this one.
        last: no step after this one; None for no end.
        parameters: the norms of each parameter, too.
        state: the norms of the state's entries, too.
        patterns: the weights themselves of parameters with such names, as ``layer1.weight[0,3]``, ``*.bias``.
    """

    every: int = 1
    first: int = 1
    last: int | None = None
    parameters: bool = False
    state: bool = False
    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """See that the numbers make sense.

        Raises:
            UsageError: they do not.
        """
        for name, value in (("every", self.every), ("from", self.first)):
            if value < 1:
                raise UsageError(f"{name} is {value}; it must be a whole number from 1 on.")
        if self.last is not None and self.last < self.first:
            raise UsageError(f"the last step, {self.last}, comes before the first, {self.first}.")

    def takes(self, step: int) -> bool:
        """Return whether a step is recorded.

        >>> [step for step in range(1, 12) if RecordingConfig(every=5).takes(step)]
        [1, 5, 10]
        """
        if step < self.first or (self.last is not None and step > self.last):
            return False
        return step % self.every == 0 or step == self.first


def is_inspected(row: int) -> bool:
    """Return whether a recorded step, by its number among those from 1, is looked at number by number.

    >>> [row for row in range(1, 600) if is_inspected(row)]
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    """
    return row % INTERVAL == 0 or row & (row - 1) == 0
