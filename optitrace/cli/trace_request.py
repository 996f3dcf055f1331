"""The options for showing a trace, whether new or saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optitrace.analysis.theory import check_theory, theory
from optitrace.cli import options
from optitrace.cli.delivery import Delivery, plan_delivery
from optitrace.errors import UsageError
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.text import whole_number
from optitrace.records.trace import Status, TraceRecord
from optitrace.views.formats import HasJson, HasJsonLines, Presenter, writers_of
from optitrace.views.presenters.trace import TracePresenter

TELLING = (Presenter, HasJson, HasJsonLines)
"""The parts of a presenter that can include an explanation and theory."""

REQUEST_OPTIONS = (*options.DISPLAY_OPTIONS, *options.delivery_options(TracePresenter))
"""The options that `read_request` reads, but ``--strict``."""


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """The requested view of a trace.

    Attributes:
        delivery: the destinations.
        every: keeps the first, every k-th and the last step.
        explains: whether its steps are explained.
        coordinate: the only coordinate to explain, from 1; all if None.
        theorizes: whether to show the predictions of theory.
        strict: whether a number that is not finite or a target that was not reached is a failure.
    """

    delivery: Delivery
    every: int
    explains: bool
    coordinate: int | None
    theorizes: bool
    strict: bool

    def check(self, experiment: Experiment) -> None:
        """Check that the request applies to an experiment.

        Raises:
            UsageError: theory does not cover it.
        """
        if self.theorizes:
            check_theory(experiment)

    def present(self, trace: TraceRecord) -> TracePresenter:
        """Return the presenter of a trace."""
        return TracePresenter(
            trace, self.explains, self.coordinate, theory(trace) if self.theorizes else None
        )

    def hint(self, trace: TraceRecord) -> str:
        """Return the line that names further options."""
        display = self.delivery.display
        more = []
        if not self.explains and trace.experiment.custom is None:
            more.append("--explain")
        if not display.plot:
            more.append("--plot")
        if trace.state and not display.state:
            more.append(f"--state ({', '.join(trace.state)})")
        if not display.update:
            more.append("--update")
        return (
            f"more: {', '.join([*more, '--format json', f'optitrace {trace.experiment.optimizer} --help'])}"
        )

    def is_failed(self, trace: TraceRecord) -> bool:
        """Return whether the outcome of a trace is a failure."""
        return self.strict and trace.outcome.status in (Status.NON_FINITE, Status.TARGET_NOT_REACHED)


def read_request(given: Mapping[str, Any]) -> TraceRequest:
    """Return the request of the options, after checking it.

    Raises:
        UsageError: a value is wrong, or a format cannot include what is requested.
        OutputError: a file cannot be written.
    """
    coordinate = given["coordinate"]
    explains = given["explain"] or coordinate is not None
    delivery = plan_delivery(given, TracePresenter)
    if (explains or given["theory"]) and delivery.writer.takes not in TELLING:
        telling = [name for name, writer in writers_of(TracePresenter).items() if writer.takes in TELLING]
        raise UsageError(
            f"{delivery.writer.name} cannot include an explanation or theory; use {', '.join(telling)}."
        )
    return TraceRequest(
        delivery=delivery,
        every=whole_number("every", given["every"], least=1),
        explains=explains,
        coordinate=whole_number("coordinate", coordinate, least=1) if coordinate is not None else None,
        theorizes=given["theory"],
        strict=given["strict"],
    )
