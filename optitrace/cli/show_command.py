"""`optitrace show FILE`: a saved trace, shown as a fresh one is."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from optitrace.analysis.theory import check_theory
from optitrace.cli.showing import SHOWING_OPTIONS, finish, hints, read_wish, show
from optitrace.experiment.text import whole_number
from optitrace.tracing.selection import every_kth
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


def show_trace(**given: Any) -> None:
    """Show a saved trace in any format, without running it again."""
    wish = read_wish(given)
    every = whole_number("every", given["every"], least=1)
    trace = every_kth(read_trace(given["file"]), every)
    if wish.theorizes:
        check_theory(trace.experiment)
    unwritten = show(trace, wish, hints(trace, wish))
    finish(trace, wish, unwritten)


show_trace.__signature__ = inspect.Signature([FILE, *SHOWING_OPTIONS])  # type: ignore[attr-defined]
show_trace.__annotations__ = {parameter.name: parameter.annotation for parameter in (FILE, *SHOWING_OPTIONS)}
