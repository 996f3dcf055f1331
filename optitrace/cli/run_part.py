"""Writes a training every few seconds while it goes on, so that one that is killed can be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from optitrace.cli.run_report import Rank
from optitrace.errors import quoted
from optitrace.experiment.user_module import reason
from optitrace.records.part_file import PartFile, part_of
from optitrace.records.training import Program
from optitrace.records.writer import jsonl_block

if TYPE_CHECKING:
    from optitrace.monitoring.monitor import Monitor

INTERVAL = 2.0
"""The least seconds between two blocks."""

LONGEST_INTERVAL = 10.0
"""The most seconds between two blocks, while there are steps."""

SHARE = 0.01
"""The share of the time that writing may take; blocks that take longer are further apart."""

Findings = Callable[["Monitor"], Mapping[str, Any]]
"""Returns what was found out so far, by the names of `TrainingFindings`."""


class RunPart:
    """Writes the blocks of a `PartFile`, in the thread of the program that takes the steps.

    Nothing that goes wrong with it reaches the program, and a forked process writes nothing.

    Attributes:
        failure: why no more blocks are written, as a sentence; empty if nothing went wrong.
    """

    def __init__(self, path: Path, program: Program, rank: Rank, findings: Findings) -> None:
        """Write nothing yet.

        Args:
            path: of the file that is written at the end.
            program: the program.
            rank: that of this process.
            findings: what was found out.
        """
        self.failure = ""
        self._part = PartFile(Path(part_of(str(path))))
        self._program = program
        self._rank = rank
        self._findings = findings
        self._process = os.getpid()
        self._names: Mapping[str, str] = {}
        self._written: dict[str, int] = {}
        self._due = 0.0
        self._writing = Lock()

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self._part.path

    @property
    def is_begun(self) -> bool:
        """Whether there is such a file."""
        return self._part.is_begun

    def __call__(self, monitor: Monitor) -> None:
        """Write another block if it is time for one."""
        begin = monotonic()
        if begin < self._due or os.getpid() != self._process or not self._writing.acquire(blocking=False):
            return
        try:
            self._write(monitor)
            self.failure = ""
        except RuntimeError as error:  # another thread is in the middle of a step
            self._fail(reason(error))
        except OSError as error:
            self._fail(error.strerror or str(error))
            return  # a line may be half written: nothing must follow it
        except Exception as error:  # a fault of this program costs no training
            self._fail(reason(error))
            return
        now = monotonic()
        self._due = now + min(max(INTERVAL, (now - begin) / SHARE), LONGEST_INTERVAL)
        self._writing.release()

    def remove(self) -> None:
        """Remove the file, as the training is written whole."""
        self._part.remove()

    def _write(self, monitor: Monitor) -> None:
        names = monitor.names()
        rank = self._rank
        training = monitor.training_so_far(self._program, rank=rank.number, world_size=rank.world_size)
        is_renamed = not self._names.items() <= names.items()
        written = {} if is_renamed else self._written
        block = jsonl_block(training, written, self._findings(monitor))
        if is_renamed or not self.is_begun:
            self._part.begin(block)
        else:
            self._part.append(block)
        self._names = dict(names)
        self._written = {optimizer.name: len(optimizer.steps) for optimizer in training.optimizers}

    def _fail(self, why: str) -> None:
        self.failure = f"{quoted(str(self.path))} was not written to the end of the training: {why}."
