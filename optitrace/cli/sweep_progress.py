"""Progress of a sweep, on standard error, and only for a person at a terminal."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING

from optitrace.cli.progress import PATIENCE
from optitrace.cli.terminal import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress


class SweepProgress:
    """A bar with the rate and the remaining time, which appears after a while."""

    def __init__(self, configurations: int) -> None:
        self._planned = configurations
        self._done = 0
        self._begin = monotonic()
        self._bar: Progress | None = None

    def advance(self, configurations: int) -> None:
        """Note that so many more are done."""
        self._done += configurations
        if not is_terminal(sys.stderr):
            return
        if self._bar is None:
            if monotonic() - self._begin < PATIENCE:
                return
            self._bar = self._open()
        rate = self._done / max(monotonic() - self._begin, 1e-9)
        self._bar.update(self._bar.task_ids[0], completed=self._done, rate=f"{rate:,.0f}/s")

    def __enter__(self) -> SweepProgress:
        """Begin."""
        self._begin = monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _open(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("configurations"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, console=Console(file=sys.stderr), transient=True)
        bar.add_task("configurations", total=self._planned, rate="")
        bar.start()
        return bar
