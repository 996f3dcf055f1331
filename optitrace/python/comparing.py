"""Traces side by side from Python: their difference, their comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optitrace.analysis.comparison import DEFAULT_TOLERANCE, Summary
from optitrace.analysis.comparison import compare as compare_traces
from optitrace.analysis.diff_report import DiffReport, report_differences
from optitrace.analysis.differences import Difference
from optitrace.analysis.tolerance import tolerance
from optitrace.errors import UsageError
from optitrace.python.shown import Shown, ShownInNotebook
from optitrace.python.traces import Trace, record_of
from optitrace.records.trace import NamedTrace
from optitrace.views.presenters.comparison import ComparisonPresenter
from optitrace.views.presenters.difference import DiffPresenter
from optitrace.views.wording import title

if TYPE_CHECKING:
    from optitrace.analysis import comparison


class Diff(Shown):
    """The difference of two traces A and B. Printed, it shows the first difference and its growth.

    Attributes:
        record: the differences.
    """

    def __init__(self, record: DiffReport) -> None:
        self.record = record

    @property
    def same(self) -> bool:
        """Whether the traces are the same: nothing differs, nothing is missing."""
        return self.record.differences.are_same

    @property
    def first(self) -> Difference | None:
        """The first difference; None if no number differs."""
        return self.record.differences.first

    def to_json(self) -> str:
        """Return the differences as JSON, the same that ``--format json`` writes."""
        return self._written("json")

    def __repr__(self) -> str:
        return f"<Diff: {'the same' if self.same else 'different'}>"

    @property
    def _presenter(self) -> DiffPresenter:
        return DiffPresenter(self.record)


def diff(
    a: Trace,
    b: Trace,
    *,
    close: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    ulps: float | None = None,
) -> Diff:
    """Compare two traces number by number, at the steps that both have.

    >>> from optitrace import trace
    >>> found = diff(trace("adam", steps=2), trace("adamw", steps=2))
    >>> found.same, found.first.quantity, found.first.step
    (False, 'weights', 1)

    Args:
        a: the first trace.
        b: the second, which tolerances are relative to.
        close: use the tolerances of `torch.testing.assert_close` for the dtype.
        rtol: the relative tolerance, instead of torch's.
        atol: the absolute tolerance, instead of torch's.
        ulps: the tolerance in units in the last place.

    Raises:
        UsageError: an argument is not a trace, or a tolerance is not a non-negative number.
    """
    named_a, named_b = _named(a), _named(b)
    allowed = tolerance(close=close, rtol=rtol, atol=atol, ulps=ulps)
    return Diff(report_differences(named_a, named_b, allowed((a.experiment.dtype, b.experiment.dtype))))


class Comparison(ShownInNotebook):
    """Runs side by side, the lowest final loss first. Printed, it is a table that marks the best.

    Attributes:
        record: the comparison.
    """

    def __init__(self, record: comparison.RankedRuns) -> None:
        self.record = record

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """The summary of each run."""
        return self.record.summaries

    def to_json(self) -> str:
        """Return the summaries as JSON, the same that ``--format json`` writes."""
        return self._written("json")

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(summary.name for summary in self.summaries)}>"

    @property
    def _presenter(self) -> ComparisonPresenter:
        return ComparisonPresenter(self.record)


def compare(*traces: Trace, tolerance: float = DEFAULT_TOLERANCE) -> Comparison:
    """Compare runs: their final losses, speeds and paths.

    >>> from optitrace import trace
    >>> runs = [trace(name, lr=0.1, steps=50) for name in ("adagrad", "sgd", "adam")]
    >>> [(run.experiment.optimizer, run.steps_to_tolerance) for run in compare(*runs).summaries]
    [('sgd', 14), ('adagrad', 29), ('adam', 18)]

    Args:
        *traces: the runs, at least one.
        tolerance: the fraction of its starting loss that a run is expected to reach.

    Raises:
        UsageError: no trace is given, or something else; or the tolerance is no share.
    """
    if not traces:
        raise UsageError("there is nothing to compare; give at least one trace.")
    return Comparison(compare_traces([_named(trace) for trace in traces], tolerance))


def _named(trace: Trace) -> NamedTrace:
    record = record_of(trace)
    return NamedTrace(title(record.experiment), record)
