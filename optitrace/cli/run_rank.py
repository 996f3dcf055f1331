"""Which of the processes that train together this one is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """The place of this process, as torchrun tells it.

    Attributes:
        rank: its number, from 0.
        world_size: how many processes there are.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def of_this_process(cls) -> Place:
        """Return the place that the environment gives; that of a process alone if it gives none."""
        rank, size = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
        return cls(int(rank), int(size)) if rank.isdigit() and size.isdigit() else cls()

    def own_file(self, path: str) -> str:
        """Return the path at which this process writes what it would write at another if it were alone.

        >>> Place(1, 2).own_file("runs/trace.json"), Place().own_file("trace.json")
        ('runs/trace.rank1.json', 'trace.json')
        """
        if self.world_size == 1 or not path:
            return path
        whole = Path(path)
        return str(whole.with_name(f"{whole.stem}.rank{self.rank}{whole.suffix}"))
