"""`optitrace diff A B`: where two traces, or two trainings, first differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from optitrace.analysis.diff_report import DiffReport, TrainingDifferences, diff_trainings, report_differences
from optitrace.analysis.tolerance import ToleranceOf, tolerance
from optitrace.cli import options
from optitrace.cli.delivery import leave, leave_if_interrupted, plan_delivery
from optitrace.cli.interruption import Interruption
from optitrace.cli.operands import (
    OPERAND_OPTIONS,
    called,
    design_operand,
    given_settings,
    read_files,
    run_operands,
    shared_settings,
    traces_of,
)
from optitrace.errors import UsageError
from optitrace.experiment.text import non_negative
from optitrace.records.reader import SavedTraining
from optitrace.records.trace import TraceRecord
from optitrace.records.training import NamedTraining
from optitrace.views.formats import Presenter
from optitrace.views.presenters.difference import DiffPresenter, TrainingDiffPresenter

TOLERANCE = "Tolerance"

AN_OPERAND = "An experiment, as sgd or sgd:momentum=0.9,lr=0.1, or a saved trace or training."

PARAMETERS = (
    options.argument("a", str, metavar="A", help=AN_OPERAND),
    options.argument("b", str, metavar="B", help=AN_OPERAND),
    options.flag(
        "close", panel=TOLERANCE, help="Use the tolerances of torch.testing.assert_close for the dtype."
    ),
    options.text_option(
        "rtol", metavar="NUMBER", panel=TOLERANCE, help="Relative tolerance, a fraction of B's number."
    ),
    options.text_option("atol", metavar="NUMBER", panel=TOLERANCE, help="Absolute tolerance."),
    options.text_option(
        "ulp", metavar="N", panel=TOLERANCE, help="Tolerance in units in the last place of the coarser dtype."
    ),
    *OPERAND_OPTIONS,
    options.flag(
        "rerun",
        panel=options.EXPERIMENT,
        help="Run the loss that a saved trace names, if it is a function of a file, for an experiment.",
    ),
    options.PRECISION_OPTION,
    *options.delivery_options(DiffPresenter),
)


HELP = """\
Show where two traces first differ: the step, the quantity, both numbers, the line of the rule; or where two \
trainings do, optimizer by optimizer.

Two numbers are the same if their bits are, unless a tolerance is given. An experiment beside a saved \
trace takes loss, start, steps, gradient and dtype from it. The exit code is 0 if the two are the \
same, and 1 if they differ.
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace diff adam:implementation=single adam:implementation=fused
  optitrace diff sgd:dtype=float32 sgd:dtype=float64 --close
  optitrace diff golden.json adam
  optitrace diff monday.json tuesday.json --format json
"""


@options.takes(PARAMETERS)
def diff_runs(**given: Any) -> None:
    """Read or run both, compare them, show how they differ, and exit with the answer."""
    delivery = plan_delivery(given, DiffPresenter)
    names = [name for name in ("rtol", "atol", "ulp") if given[name] is not None]
    amounts = {name.replace("ulp", "ulps"): non_negative(name, given[name]) for name in names}
    allowed = tolerance(close=given["close"], **amounts)
    operands, settings = (given["a"], given["b"]), given_settings(given)
    files = read_files(operands)
    trainings = [found for found in map(files.get, operands) if isinstance(found, SavedTraining)]
    if len(trainings) == len(operands):
        result: Presenter
        differences = _diff_trainings(operands, trainings, settings, allowed)
        result, are_same = TrainingDiffPresenter(differences), differences.are_same
    else:
        saved = traces_of(files, "diff compares two trainings, or two traces or experiments")
        shared = shared_settings(operands, saved, settings, runs_code=given["rerun"])
        report = _diff_traces(operands, saved, {**shared, **settings}, allowed)
        result, are_same = DiffPresenter(report), report.differences.are_same
    leave(delivery.deliver(result), is_no=not are_same)


def _diff_trainings(
    operands: Sequence[str],
    saved: Sequence[SavedTraining],
    settings: Collection[str],
    allowed: ToleranceOf,
) -> TrainingDifferences:
    """Compare two trainings.

    Raises:
        UsageError: an option of an experiment is given.
    """
    if settings:
        option = next(iter(settings)).replace("_", "-")
        raise UsageError(f"trainings are not run again, so --{option} changes nothing; leave it out.")
    a, b = (NamedTraining(called(o), s.training) for o, s in zip(operands, saved, strict=True))
    return diff_trainings(a, b, allowed)


def _diff_traces(
    operands: Sequence[str],
    saved: Mapping[str, TraceRecord],
    settings: Mapping[str, str],
    allowed: ToleranceOf,
) -> DiffReport:
    experiments = {o: design_operand(o, settings) for o in operands if o not in saved}
    with Interruption() as interruption:
        traces = run_operands(operands, saved, experiments, interruption)
    leave_if_interrupted(interruption, "interrupted; nothing was compared.")
    a, b = traces
    return report_differences(a, b, allowed((a.trace.experiment.dtype, b.trace.experiment.dtype)))
