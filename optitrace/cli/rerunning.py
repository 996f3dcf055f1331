"""Running a saved trace again: does this machine, with this torch, still do the same?"""

from __future__ import annotations

from dataclasses import replace

from optitrace.analysis.diff_report import DiffReport, report_differences
from optitrace.analysis.named_trace import NamedTrace
from optitrace.analysis.tolerance import EXACT
from optitrace.cli import terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.running import run_experiment
from optitrace.cli.showing import Wish
from optitrace.experiment.own_class import entry_of
from optitrace.tracing.selection import at_steps
from optitrace.tracing.trace import Trace


def run_again(trace: Trace, interruption: Interruption) -> DiffReport:
    """Run the experiment of a trace as far as it went, and compare the two bit for bit.

    Raises:
        UsageError: a class or a function of a person's own is not where it was, or it fails.
        DeviceError: the device is not there.
    """
    experiment = trace.experiment
    own = None if experiment.own is None else entry_of(experiment.optimizer)
    again = run_experiment(replace(experiment, own=own, steps=trace.steps[-1]), interruption)
    comparable = replace(at_steps(again, trace.steps), experiment=experiment)
    return report_differences(NamedTrace("saved", trace), NamedTrace("run again", comparable), EXACT)


def tell(report: DiffReport, wish: Wish) -> None:
    """Say whether the two are the same: below a table, and on standard error beside other formats."""
    from optitrace.views.diff_view import diff_view

    answer = "the same bit for bit" if report.differences.are_same else "not the same"
    said = f"run again with torch {report.b.trace.versions.torch}: {answer}"
    if wish.format != "table":
        terminal.say(f"{said}.")
        return
    terminal.print_text(["\n", f"{said}\n"])
    if not report.differences.are_same:
        view = diff_view(report, width=terminal.width(), ascii_only=terminal.ascii_only())
        terminal.print_text(["\n"])
        terminal.print_rich(view, wish.color)
