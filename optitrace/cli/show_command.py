"""`optitrace show FILE`: a saved trace or training, shown as a fresh one is."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Annotated, Any

import typer

from optitrace.analysis.theory import check_theory
from optitrace.cli import options, terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.picturing import say_what_is_not_drawn
from optitrace.cli.rerunning import run_again, tell, with_code
from optitrace.cli.showing import (
    LOOKING_OPTIONS,
    Wish,
    finish,
    hints,
    leave_if_interrupted,
    read_wish,
    show,
)
from optitrace.cli.training_showing import PARAMS_OPTION, show_training
from optitrace.errors import UsageError
from optitrace.experiment.text import whole_number
from optitrace.records.reader import SavedTraining, read_saved
from optitrace.records.trace import Trace

FILE = inspect.Parameter(
    "file",
    inspect.Parameter.KEYWORD_ONLY,
    annotation=Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A trace or a training saved with -o FILE.json or .jsonl; - is standard input.",
        ),
    ],
)

RERUN_OPTION = options.flag(
    "rerun", panel=options.OUTPUT, help="Run a trace again, and exit with 1 if anything differs."
)


STRICT_OPTION = options.flag(
    "strict",
    panel=options.OUTPUT,
    help="Exit with 1 if a number of a trace is no longer finite, its target was not reached, "
    "or a training has a fault.",
)


@options.takes((FILE, RERUN_OPTION, PARAMS_OPTION, *LOOKING_OPTIONS, STRICT_OPTION))
def show_saved(**given: Any) -> None:
    """Show a saved trace or training in any format; with --rerun, run a trace again and compare."""
    wish = read_wish(given)
    every = whole_number("every", given["every"], least=1)
    saved = read_saved(given["file"])
    if isinstance(saved, SavedTraining):
        look = replace(wish.look, by_parameter=given["params"])
        show_training(saved, replace(wish, look=look), every, given)
        return
    if given["params"]:
        raise UsageError("--params is for trainings, and this is a trace; leave it out.")
    if given["rerun"]:
        saved = with_code(saved)
    trace = saved.every_kth(every)
    if wish.theorizes:
        check_theory(trace.experiment)
    say_what_is_not_drawn([trace], plots=wish.plots, formats=wish.formats)
    with Interruption() as interruption:
        unwritten = show(trace, wish, hints(trace, wish))
    leave_if_interrupted(interruption)
    if given["rerun"]:
        _rerun(saved, wish)
    finish(trace, wish, unwritten)


def _rerun(saved: Trace, wish: Wish) -> None:
    """Run a trace again; exit with 1 if it does not come out the same."""
    with Interruption() as interruption:
        report = run_again(saved, interruption)
    if interruption.signal is not None:
        terminal.say("interrupted; nothing was compared.")
        raise typer.Exit(interruption.exit_code)
    tell(report, wish)
    if not report.differences.are_same:
        raise typer.Exit(1)
