"""Running a saved trace again: does this machine, with this torch, still do the same?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from optitrace.analysis.diff_report import DiffReport, report_differences
from optitrace.analysis.named_trace import NamedTrace
from optitrace.analysis.tolerance import EXACT
from optitrace.cli import terminal
from optitrace.cli.experiment_runner import run_experiment
from optitrace.cli.interruption import Interruption
from optitrace.cli.showing import Wish
from optitrace.errors import printable
from optitrace.experiment.objectives import OwnLoss
from optitrace.experiment.own_class import entry_of
from optitrace.experiment.own_module import SEPARATOR
from optitrace.records.selection import at_steps
from optitrace.records.trace import Trace


def with_code(trace: Trace) -> Trace:
    """Return a saved trace whose loss may be evaluated, after naming each file of code that will be run."""
    experiment = trace.experiment
    objective = experiment.objective
    named = [] if experiment.own is None else [experiment.optimizer]
    if isinstance(objective, OwnLoss) and objective.is_recorded:
        named.append(objective.function)
        experiment = replace(experiment, objective=replace(objective, is_recorded=False))
    say_code(named)
    return replace(trace, experiment=experiment)


def say_code(names: Iterable[str]) -> None:
    """Say which files or modules will be run, given the names of classes and functions in them."""
    for place in dict.fromkeys(name.rpartition(SEPARATOR)[0] for name in names):
        terminal.say(f"--rerun runs the code of '{printable(place)}', which the saved trace names.")


def run_again(trace: Trace, interruption: Interruption) -> DiffReport:
    """Run the experiment of a trace, as `with_code` returns it, as far as it went, and compare bit for bit.

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
