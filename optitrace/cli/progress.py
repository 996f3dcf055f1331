"""Progress of a long run, on standard error, and only for a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING

from optitrace.cli.terminal import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PATIENCE = 1.0
"""Seconds before progress is shown at all."""

STRIDE = 512
"""Steps between two looks at the clock."""


class Progress:
    """A question to be asked before each step, which shows how many steps were taken when it is asked.

    Args:
        steps: how many steps are planned.
        question: what is asked in turn; its answer is passed on.
    """

    def __init__(self, steps: int, question: Callable[[], bool]) -> None:
        self._steps = steps
        self._question = question
        self._asked = 0
        self._bar: _Bar | None = None

    def __call__(self) -> bool:
        """Pass the question on, and move the bar now and then."""
        self._asked += 1
        if self._bar is not None and self._asked % STRIDE == 0:
            self._bar.move(self._asked)
        return self._question()

    def __enter__(self) -> Progress:
        """Begin, if there is a person to see it."""
        if is_terminal(sys.stderr):
            self._bar = _Bar(self._steps)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


class _Bar:
    """A bar with the remaining time, which appears after a while."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._begin = monotonic()
        self._progress: RichProgress | None = None

    def move(self, taken: int) -> None:
        """Show how many steps were taken."""
        if self._progress is None:
            if monotonic() - self._begin < PATIENCE:
                return
            self._progress = self._open()
        self._progress.update(self._progress.task_ids[0], completed=taken)

    def close(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()

    def _open(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        bar = BarColumn(bar_width=None, table_column=Column(ratio=1))  # gives way to the numbers
        columns = (TextColumn("steps"), bar, MofNCompleteColumn(), TimeRemainingColumn())
        progress = Progress(*columns, console=Console(file=sys.stderr), transient=True, expand=True)
        progress.add_task("steps", total=self._steps)
        progress.start()
        return progress
