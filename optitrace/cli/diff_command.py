"""`optitrace diff A B`: where two traces part."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from optitrace.analysis.diff_report import report_differences
from optitrace.analysis.tolerance import EXACT, Tolerance, close
from optitrace.cli import options, terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.operands import (
    OPERAND_OPTIONS,
    design_operand,
    given_settings,
    read_files,
    run_operands,
    shared_settings,
)
from optitrace.errors import UsageError, one_of, quoted
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
    options.format_option(options.TABLE_OR_JSON),
    options.PRECISION_OPTION,
    options.COLOR_OPTION,
)


def _operand(letter: str) -> inspect.Parameter:
    argument = typer.Argument(
        metavar=letter, help="An experiment, as sgd or sgd:momentum=0.9,lr=0.1, or a saved trace."
    )
    return inspect.Parameter(
        letter.lower(), inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, argument]
    )


HELP = """\
Say where two traces part: the step, the quantity, both numbers, the line of the rule.

Two numbers are the same if their bits are, unless a tolerance is given. An experiment beside a saved \
trace takes loss, start, steps, gradient and dtype from it. The exit code is 0 if the traces are the \
same, and 1 if they differ.
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace diff adam:implementation=single adam:implementation=fused
  optitrace diff sgd:dtype=float32 sgd:dtype=float64 --close
  optitrace diff golden.json adam
  optitrace diff a.json b.json --format json
"""


@options.takes((_operand("A"), _operand("B"), *DIFF_OPTIONS))
def diff_traces(**given: Any) -> None:
    """Read or run both, compare them, show how they differ, and exit with the answer."""
    format = one_of("format", given["format"] or "table", options.TABLE_OR_JSON)
    precision = options.precision(given)
    color = terminal.check_color(given["color"])
    tolerance_options = {name: _amount(name, given[name]) for name in ("rtol", "atol", "ulp")}
    operands = [given["a"], given["b"]]
    saved = read_files(operands)
    settings = {**(shared_settings(next(iter(saved.values()))) if saved else {}), **given_settings(given)}
    experiments = {o: design_operand(o, settings) for o in operands if o not in saved}
    with Interruption() as interruption:
        traces = run_operands(operands, saved, experiments, interruption)
    if interruption.signal is not None:
        terminal.say("interrupted; nothing was compared.")
        raise typer.Exit(interruption.exit_code)
    a, b = traces
    dtypes = a.trace.experiment.dtype, b.trace.experiment.dtype
    tolerance = _tolerance(given["close"], tolerance_options, dtypes)
    spelling = ASCII if format == "json" or terminal.ascii_only() else UNICODE
    report = report_differences(a, b, tolerance, spelling)
    from optitrace.views.diff_view import diff_json, diff_view

    if format == "json":
        terminal.print_text([diff_json(report)])
    else:
        view = diff_view(
            report, precision=precision, width=terminal.width(), ascii_only=terminal.ascii_only()
        )
        terminal.print_rich(view, color)
    if not report.differences.are_same:
        raise typer.Exit(1)


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
