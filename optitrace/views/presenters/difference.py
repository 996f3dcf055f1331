"""The difference of two traces, and of two trainings, as they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from optitrace.rules.reader import ASCII, Spelling
from optitrace.views.display import Display
from optitrace.views.formats import HasJson, Presenter

if TYPE_CHECKING:
    from rich.console import RenderableType

    from optitrace.analysis.diff_report import DiffReport, TrainingDifferences


@dataclass(frozen=True, slots=True)
class DiffPresenter(Presenter, HasJson):
    """How two traces differ."""

    called: ClassVar[str] = "a difference"

    report: DiffReport

    def table(self, display: Display) -> RenderableType:
        """Return the first difference, its growth, and the largest difference of each quantity."""
        from optitrace.views.diff_view import diff_view

        return diff_view(self._spelled(ASCII) if display.ascii else self.report, display)

    def json(self, display: Display) -> Iterator[str]:
        """Yield all differences as an object; ``same`` is the answer."""
        from optitrace.views.diff_view import diff_json

        yield diff_json(self._spelled(ASCII))

    def _spelled(self, spelling: Spelling) -> DiffReport:
        """Return the differences with the line of the rule in another spelling."""
        a, b, differences = self.report.a.trace, self.report.b.trace, self.report.differences
        if differences.first is None:
            return self.report
        from optitrace.analysis.diff_report import first_rule_difference

        rule = first_rule_difference(a, b, differences.first, differences.tolerance, spelling)
        return replace(self.report, rule=rule)


@dataclass(frozen=True, slots=True)
class TrainingDiffPresenter(Presenter, HasJson):
    """How two trainings differ, optimizer by optimizer."""

    called: ClassVar[str] = "a difference"

    differences: TrainingDifferences

    def table(self, display: Display) -> RenderableType:
        """Return, for each optimizer, the first difference, its growth, and the largest differences."""
        from optitrace.views.diff_view import training_diff_view

        return training_diff_view(self.differences, display)

    def json(self, display: Display) -> Iterator[str]:
        """Yield all differences as an object; ``same`` is the answer."""
        from optitrace.views.diff_view import training_diff_json

        yield training_diff_json(self.differences)
