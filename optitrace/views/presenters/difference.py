"""The difference of two traces, and of two trainings, as they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from rich.console import RenderableType

from optitrace.analysis.diff_report import DiffReport
from optitrace.analysis.training.differences import TrainingDifferences
from optitrace.rules.reader import ASCII, UNICODE, Spelling
from optitrace.views.diff_view import diff_json, diff_view
from optitrace.views.display import Display
from optitrace.views.presenter import HasJson, Presenter
from optitrace.views.training_diff_view import training_diff_json, training_diff_view


@dataclass(frozen=True, slots=True)
class DiffPresenter(Presenter, HasJson):
    """How two traces differ.

    Attributes:
        report: returns the differences, in a spelling of the lines of the rule.
    """

    called: ClassVar[str] = "a difference"

    report: Callable[[Spelling], DiffReport]

    def table(self, display: Display) -> RenderableType:
        """Return where they part, how that grows, and the greatest difference of each quantity."""
        return diff_view(self.report(ASCII if display.ascii else UNICODE), display)

    def json(self, display: Display) -> Iterator[str]:
        """Yield all differences as an object; ``same`` is the answer."""
        yield diff_json(self.report(ASCII))


@dataclass(frozen=True, slots=True)
class TrainingDiffPresenter(Presenter, HasJson):
    """How two trainings differ, optimizer by optimizer."""

    called: ClassVar[str] = "a difference"

    differences: TrainingDifferences

    def table(self, display: Display) -> RenderableType:
        """Return, for each optimizer, where they part, how that grows, and the greatest differences."""
        return training_diff_view(self.differences, display)

    def json(self, display: Display) -> Iterator[str]:
        """Yield all differences as an object; ``same`` is the answer."""
        yield training_diff_json(self.differences)
