"""Which of the processes that train together this one is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rank:
    """Which process this is, as torchrun tells it.

    Attributes:
        number: its number, from 0.
        world_size: how many processes there are.
    """

    number: int = 0
    world_size: int = 1

    @classmethod
    def of_this_process(cls) -> Rank:
        """Return what the environment gives; the rank of a process alone if it gives none."""
        number, size = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
        return cls(int(number), int(size)) if number.isdigit() and size.isdigit() else cls()

    def own_file(self, path: str) -> str:
        """Return the path at which this process writes what it would write at another if it were alone.

        >>> Rank(1, 2).own_file("runs/trace.json"), Rank().own_file("trace.json")
        ('runs/trace.rank1.json', 'trace.json')
        """
        if self.world_size == 1 or not path:
            return path
        whole = Path(path)
        return str(whole.with_name(f"{whole.stem}.rank{self.number}{whole.suffix}"))
