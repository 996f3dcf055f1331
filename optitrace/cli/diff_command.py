"""`optitrace diff A B`: where two traces, or two trainings, part."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from optitrace.analysis.diff_report import report_differences
from optitrace.analysis.tolerance import EXACT, Tolerance, ToleranceOf, close
from optitrace.cli import options, terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.operands import (
    OPERAND_OPTIONS,
    design_operand,
    given_settings,
    read_files,
    run_operands,
    shared_settings,
    traces_of,
)
from optitrace.cli.training_diff import DiffLook, diff_saved_trainings
from optitrace.errors import UsageError, one_of, quoted
from optitrace.records.reader import SavedTraining
from optitrace.records.trace import Trace
from optitrace.rules.reader import ASCII, UNICODE

TOLERANCE = "Tolerance"

DIFF_OPTIONS = (
    options.flag(
        "close", panel=TOLERANCE, help="Allow what torch.testing.assert_close allows for the dtype."
    ),
    options.text_option(
        "rtol", metavar="NUMBER", panel=TOLERANCE, help="Allow a difference of this times B's number."
    ),
    options.text_option("atol", metavar="NUMBER", panel=TOLERANCE, help="Allow a difference of this."),
    options.text_option(
        "ulp", metavar="N", panel=TOLERANCE, help="Allow N units in the last place of the coarser dtype."
    ),
    *OPERAND_OPTIONS,
    options.flag(
        "rerun",
        panel=options.EXPERIMENT,
        help="Run the loss that a saved trace names, if it is a function of a file, for an experiment.",
    ),
    options.format_option(options.TABLE_OR_JSON),
    options.PRECISION_OPTION,
    options.COLOR_OPTION,
)


def _operand(letter: str) -> inspect.Parameter:
    argument = typer.Argument(
        metavar=letter, help="An experiment, as sgd or sgd:momentum=0.9,lr=0.1, or a saved trace or training."
    )
    return inspect.Parameter(
        letter.lower(), inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, argument]
    )


HELP = """\
Say where two traces part: the step, the quantity, both numbers, the line of the rule; and where two \
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


@options.takes((_operand("A"), _operand("B"), *DIFF_OPTIONS))
def diff_runs(**given: Any) -> None:
    """Read or run both, compare them, show how they differ, and exit with the answer."""
    how = DiffLook(
        format=one_of("format", given["format"] or "table", options.TABLE_OR_JSON),
        precision=options.precision(given),
        color=terminal.check_color(given["color"]),
    )
    amounts = {name: _amount(name, given[name]) for name in ("rtol", "atol", "ulp")}
    tolerance = partial(_tolerance, given["close"], amounts)
    operands, settings = (given["a"], given["b"]), given_settings(given)
    files = read_files(operands)
    trainings = [found for found in map(files.get, operands) if isinstance(found, SavedTraining)]
    if len(trainings) == len(operands):
        are_same = diff_saved_trainings(operands, trainings, settings, tolerance, how)
    else:
        saved = traces_of(files, "diff takes two trainings, or two of traces and experiments")
        shared = shared_settings(operands, saved, settings, runs_code=given["rerun"])
        are_same = _diff_traces(operands, saved, {**shared, **settings}, tolerance, how)
    if not are_same:
        raise typer.Exit(1)


def _diff_traces(
    operands: Sequence[str],
    saved: Mapping[str, Trace],
    settings: Mapping[str, str],
    tolerance: ToleranceOf,
    how: DiffLook,
) -> bool:
    """Run what is not saved, compare both and show how they differ; return whether they are the same."""
    experiments = {o: design_operand(o, settings) for o in operands if o not in saved}
    with Interruption() as interruption:
        traces = run_operands(operands, saved, experiments, interruption)
    if interruption.signal is not None:
        terminal.say("interrupted; nothing was compared.")
        raise typer.Exit(interruption.exit_code)
    a, b = traces
    allowed = tolerance((a.trace.experiment.dtype, b.trace.experiment.dtype))
    spelling = ASCII if how.format == "json" or terminal.ascii_only() else UNICODE
    report = report_differences(a, b, allowed, spelling)
    from optitrace.views.diff_view import diff_json, diff_view

    if how.format == "json":
        terminal.print_text([diff_json(report)])
    else:
        view = diff_view(
            report, precision=how.precision, width=terminal.width(), ascii_only=terminal.ascii_only()
        )
        terminal.print_rich(view, how.color)
    return report.differences.are_same


def _tolerance(is_close: bool, amounts: Mapping[str, float | None], dtypes: tuple[str, str]) -> Tolerance:
    """Return the tolerance that is asked for; one's own numbers are instead of torch's."""
    base = close(dtypes) if is_close else EXACT
    rtol, atol, ulp = amounts["rtol"], amounts["atol"], amounts["ulp"]
    return Tolerance(
        rtol=base.rtol if rtol is None else rtol,
        atol=base.atol if atol is None else atol,
        ulps=base.ulps if ulp is None else ulp,
    )


def _amount(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise UsageError(f"{name} is {quoted(text)}; it must be a number from 0 on.")
    return amount
