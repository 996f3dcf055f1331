"""`optitrace show FILE`: a saved trace, shown as a fresh one is."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from optitrace.analysis.theory import check_theory
from optitrace.cli import options, terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.rerunning import run_again, tell
from optitrace.cli.showing import SHOWING_OPTIONS, Wish, finish, hints, read_wish, show
from optitrace.experiment.text import whole_number
from optitrace.tracing.selection import every_kth
from optitrace.tracing.trace import Trace
from optitrace.tracing.trace_reading import read_trace

FILE = inspect.Parameter(
    "file",
    inspect.Parameter.KEYWORD_ONLY,
    annotation=Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A trace saved with -o FILE.json or .jsonl; - is standard input."
        ),
    ],
)

RERUN_OPTION = options.flag(
    "rerun", panel=options.OUTPUT, help="Run it again, and exit with 1 if anything differs."
)


@options.takes((FILE, RERUN_OPTION, *SHOWING_OPTIONS))
def show_trace(**given: Any) -> None:
    """Show a saved trace in any format; with --rerun, run it again and compare."""
    wish = read_wish(given)
    every = whole_number("every", given["every"], least=1)
    saved = read_trace(given["file"])
    trace = every_kth(saved, every)
    if wish.theorizes:
        check_theory(trace.experiment)
    unwritten = show(trace, wish, hints(trace, wish))
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
