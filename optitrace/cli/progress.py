"""Progress of long operations, on standard error, only at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Self

from optitrace.cli.terminal import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PATIENCE = 1.0
"""Seconds before progress is shown at all."""

STRIDE = 512
"""Steps between two looks at the clock."""


class Bar:
    """A progress bar with the remaining time, which appears after a while, only at a terminal.

    Args:
        what: the noun that is counted.
        total: the total number.
        with_rate: whether to show the rate per second.
    """

    def __init__(self, what: str, total: int, *, with_rate: bool = False) -> None:
        self._what = what
        self._total = total
        self._with_rate = with_rate
        self._is_seen = is_terminal(sys.stderr)
        self._begin = monotonic()
        self._done = 0
        self._progress: RichProgress | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._begin = monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()

    def advance(self, count: int) -> None:
        """Show that so many more are done."""
        self._done += count
        if not self._is_seen:
            return
        passed = monotonic() - self._begin
        if self._progress is None:
            if passed < PATIENCE:
                return
            self._progress = self._open()
        rate = f"{self._done / max(passed, 1e-9):,.0f}/s"
        self._progress.update(self._progress.task_ids[0], completed=self._done, rate=rate)

    def _open(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        bar = BarColumn(bar_width=None, table_column=Column(ratio=1))  # gives way to the numbers
        rate = [TextColumn("{task.fields[rate]}")] if self._with_rate else []
        columns = (TextColumn(self._what), bar, MofNCompleteColumn(), *rate, TimeRemainingColumn())
        progress = Progress(*columns, console=Console(file=sys.stderr), transient=True, expand=True)
        progress.add_task(self._what, total=self._total, rate="")
        progress.start()
        return progress


class Progress(Bar):
    """A stop condition that shows the number of steps taken each time it is called.

    Args:
        steps: the number of planned steps.
        question: the stop condition that it wraps.
    """

    def __init__(self, steps: int, question: Callable[[], bool]) -> None:
        super().__init__("steps", steps)
        self._question = question
        self._asked = 0

    def __call__(self) -> bool:
        """Return the wrapped condition, and update the bar now and then."""
        self._asked += 1
        if self._asked % STRIDE == 0:
            self.advance(STRIDE)
        return self._question()


@contextmanager
def verify_progress() -> Iterator[Callable[[int, int, str], None]]:
    """Show how many of how many optimizers are verified, and which one is being."""
    if not is_terminal(sys.stderr):
        yield lambda done, of, what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    name = TextColumn("{task.description}", markup=False)
    columns = (TextColumn("verify"), BarColumn(), MofNCompleteColumn(), name)
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, of, what: progress.update(task, completed=done, total=of, description=what)
