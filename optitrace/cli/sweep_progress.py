"""Progress of a sweep, on standard error, and only for a person at a terminal."""

from __future__ import annotations

from types import TracebackType

from optitrace.cli.progress import Bar


class SweepProgress:
    """How many configurations are done, of all that are planned."""

    def __init__(self, configurations: int) -> None:
        self._planned = configurations
        self._done = 0

    def advance(self, configurations: int) -> None:
        """Record that so many more are done."""
        self._done += configurations
        self._bar.move(self._done)

    def __enter__(self) -> SweepProgress:
        """Begin."""
        self._bar = Bar("configurations", self._planned, with_rate=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._bar.close()
