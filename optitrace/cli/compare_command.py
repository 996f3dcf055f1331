"""`optitrace compare A B …`: several runs side by side."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from optitrace.analysis.comparison import DEFAULT_TOLERANCE, Comparison, compare
from optitrace.cli import options, terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.operands import (
    OPERAND_OPTIONS,
    design_operand,
    given_settings,
    read_files,
    run_operands,
    traces_of,
)
from optitrace.cli.output_files import Chunks, OutputFile, plan_files, show_then_write, write_files
from optitrace.cli.picturing import (
    check_formats,
    check_plot,
    picture_of_comparison,
    plot_of_comparison,
    print_picture,
    say_what_is_not_drawn,
)
from optitrace.cli.torch_loading import load_torch
from optitrace.errors import OutputError, UsageError, one_of, quoted
from optitrace.experiment.experiment import Experiment
from optitrace.experiment.text import whole_number
from optitrace.views.compare_formats import COMPARE_FORMATS, compare_chunks
from optitrace.views.compare_table import compare_table
from optitrace.views.formats import PICTURES
from optitrace.views.grid import Look
from optitrace.views.side_by_side import QUANTITIES

OPERANDS = inspect.Parameter(
    "operands",
    inspect.Parameter.KEYWORD_ONLY,
    annotation=Annotated[
        list[str],
        typer.Argument(
            metavar="RUN", help="Experiments, as sgd or sgd:momentum=0.9,lr=0.1, or saved traces."
        ),
    ],
)

COMPARE_OPTIONS = (
    *OPERAND_OPTIONS,
    options.text_option(
        "tolerance",
        metavar="SHARE",
        default=f"{DEFAULT_TOLERANCE:g}",
        panel=options.OUTPUT,
        help="Count the steps until the loss is at most this share of the starting loss.",
    ),
    options.flag(
        "tuned",
        panel=options.EXPERIMENT,
        help="Give each run its own best lr, found by a sweep, in place of one lr for all.",
    ),
    options.text_option(
        "table",
        metavar="QUANTITY",
        panel=options.OUTPUT,
        help=f"Show {', '.join(QUANTITIES[:-1])} or {QUANTITIES[-1]} at each step as well.",
    ),
    options.PRECISION_OPTION,
    options.PLOT_OPTION,
    options.ALL_OPTION,
    options.format_option(COMPARE_FORMATS),
    options.output_option(COMPARE_FORMATS),
    options.COLOR_OPTION,
)


HELP = f"""\
Compare runs, the lowest final loss first: how far each came, how fast, and on what way.

[bold]distance to minimum[/]: of the last weights, from the nearest minimum. \
[bold]steps to tolerance[/]: until the loss is at most {DEFAULT_TOLERANCE:g} (--tolerance) of the \
starting loss. \
[bold]path / line[/]: the length of the way over the straight line from start to end; 1 is straight. \
[bold]overshoot[/]: how far, at most, a weight went past the minimum. \
[bold]diverged at[/]: the first step with a number that is not finite.
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace compare sgd adam rmsprop --lr 0.1 -n 100
  optitrace compare sgd sgd:momentum=0.9 --table loss
  optitrace compare sgd adam rmsprop --tuned -n 30
  optitrace compare old.json 'adam:betas=0.9;0.99,eps=1e-6'
"""


@options.takes([OPERANDS, *COMPARE_OPTIONS])
def compare_runs(**given: Any) -> None:
    """Run what is to be run, rank the runs, and show them."""
    look = Look(precision=whole_number("precision", given["precision"], most=17), all_rows=given["all"])
    quantity = one_of("table", given["table"], QUANTITIES) if given["table"] else ""
    format = one_of("format", given["format"], COMPARE_FORMATS) if given["format"] else None
    if given["plot"]:
        check_plot(format)
    color = terminal.check_color(given["color"])
    tolerance = _tolerance(given["tolerance"])
    files = plan_files(given["output"], format)
    for file in files:
        one_of("format", file.format, COMPARE_FORMATS)
    check_formats(format, files)
    operands = given["operands"]
    saved = traces_of(read_files(operands), "'optitrace diff' compares two trainings")
    settings = given_settings(given)
    experiments = {o: design_operand(o, settings) for o in operands if o not in saved}
    _check_effect(given, settings, experiments)
    with Interruption() as interruption:
        tuning = _tune(experiments) if given["tuned"] else None
        traces = run_operands(operands, saved, experiments, interruption)
        if not traces:
            terminal.say("interrupted before the first run.")
            raise typer.Exit(interruption.exit_code)
        comparison, plots = compare(traces, tolerance, tuning), given["plot"]
        formats = [format or "table", *(file.format for file in files)]
        say_what_is_not_drawn([named.trace for named in traces], plots=plots, formats=formats)
        errors = show_then_write(
            lambda: _show(comparison, quantity, look, format or "table", color, plots=plots),
            lambda: _write(files, comparison, quantity, look, plots=plots),
        )
    if interruption.signal is not None:
        terminal.say(f"interrupted; {len(traces)} of {len(operands)} runs are shown.")
        raise typer.Exit(interruption.exit_code)
    if errors:
        raise typer.Exit(OutputError.exit_code)


def _check_effect(
    given: Mapping[str, Any], settings: Mapping[str, str], experiments: Mapping[str, Experiment]
) -> None:
    """Refuse options that say how to run, where nothing is to be run."""
    asked = ["tuned"] if given["tuned"] else list(settings)
    if asked and not experiments:
        option = asked[0].replace("_", "-")
        raise UsageError(f"saved traces are not run again, so --{option} changes nothing; leave it out.")


def _tune(experiments: dict[str, Experiment]) -> str:
    """Give each experiment its own best lr; return in words where that comes from."""
    load_torch()
    from optitrace.analysis.sweeping.sweep import DESCRIPTION, tune

    for operand, experiment in experiments.items():
        experiments[operand] = tune(experiment)
    return DESCRIPTION


def _write(
    files: Sequence[OutputFile], comparison: Comparison, quantity: str, look: Look, *, plots: bool
) -> list[OutputError]:
    """Write every file that can be written; return what went wrong with the others."""

    def content(file: OutputFile) -> Chunks:
        if file.format in PICTURES:
            return [picture_of_comparison(comparison, file.format, look.precision)]
        plot = plot_of_comparison(comparison) if plots and file.format == "table" else None
        return compare_chunks(comparison, file.format, quantity, look, plot)

    return write_files(files, content)


def _show(comparison: Comparison, quantity: str, look: Look, format: str, color: str, *, plots: bool) -> None:
    if format in PICTURES:
        print_picture(picture_of_comparison(comparison, format, look.precision), format)
        return
    if format != "table":
        terminal.print_text(compare_chunks(comparison, format, quantity, look))
        return
    width, ascii_only = terminal.width(), terminal.ascii_only()
    plot = plot_of_comparison(comparison, width=width, ascii_only=ascii_only) if plots else None
    table = compare_table(comparison, look, quantity=quantity, plot=plot, width=width, ascii_only=ascii_only)
    terminal.print_rich(table, color)


def _tolerance(text: str) -> float:
    try:
        tolerance = float(text)
    except ValueError:
        tolerance = 0.0
    if not 0 < tolerance < 1:
        raise UsageError(f"tolerance is {quoted(text)}; it must be a share between 0 and 1, such as 0.001.")
    return tolerance
