"""Showing a trace: what the options ask for, on standard output and in files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from optitrace.analysis.explanation import explain
from optitrace.analysis.findings import NO_FINDINGS, Findings
from optitrace.analysis.theory import theory
from optitrace.cli import options, terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.output_files import Chunks, OutputFile, plan_files, show_then_write, write_files
from optitrace.cli.picturing import check_formats, check_plot, picture_of_trace, plot_of_trace, print_picture
from optitrace.errors import OutputError, UsageError, printable
from optitrace.experiment.text import whole_number
from optitrace.records.trace import Status, Trace
from optitrace.rules.reader import ASCII, UNICODE
from optitrace.views.formats import PICTURES, WITH_FINDINGS, check_format, chunks
from optitrace.views.grid import Look, visible_rows

LOOKING_OPTIONS = (*options.LOOK_OPTIONS, *options.WRITING_OPTIONS)
"""The options that `read_wish` reads, but the one that says what is a failure."""

SHOWING_OPTIONS = (*LOOKING_OPTIONS, options.STRICT_OPTION)
"""The options that `read_wish` reads."""

READABLE = ("json", "jsonl")
"""The formats that a trace can be read back from."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How a trace is to be shown.

    Attributes:
        look: what of it, and how.
        format: the format on standard output.
        files: the files to write beside it.
        color: when to use colour.
        explains: whether to explain the steps.
        coordinate: the coordinate to explain, from 1; all if None.
        theorizes: whether to say what theory predicts.
        plots: whether to draw the run in characters.
        strict: whether a number that is not finite, a target that was not reached, or a fault of a training
            is a failure.
    """

    look: Look
    format: str
    files: Sequence[OutputFile]
    color: str
    explains: bool
    coordinate: int | None
    theorizes: bool
    plots: bool
    strict: bool

    @property
    def formats(self) -> list[str]:
        """The formats that are written, on standard output and in files."""
        return [self.format, *(file.format for file in self.files)]


def read_wish(given: Mapping[str, Any]) -> Wish:
    """Return what the options of `SHOWING_OPTIONS` ask for, after seeing that it can be done.

    Raises:
        UsageError: a value is wrong, or a format has no place for what is asked for.
        OutputError: a file cannot be written.
    """
    format = check_format(given["format"]) if given["format"] else None
    coordinate = given["coordinate"]
    explains = given["explain"] or coordinate is not None
    if (explains or given["theory"]) and format not in (None, *WITH_FINDINGS):
        raise UsageError(
            f"{format} has no place for an explanation or for theory; use {', '.join(WITH_FINDINGS)}."
        )
    if given["plot"]:
        check_plot(format)
    files = plan_files(given["output"], format)
    check_formats(format, files)
    return Wish(
        look=options.look(given),
        format=format or "table",
        files=files,
        color=terminal.check_color(given["color"]),
        explains=explains,
        coordinate=whole_number("coordinate", coordinate, least=1) if coordinate is not None else None,
        theorizes=given["theory"],
        plots=given["plot"],
        strict=given["strict"],
    )


def show(trace: Trace, wish: Wish, notes: Sequence[str]) -> list[OutputError]:
    """Print the trace and write the files that are wished for; say and return what could not be written."""
    return show_then_write(lambda: _print(trace, wish, notes), lambda: _write(trace, wish))


def _print(trace: Trace, wish: Wish, notes: Sequence[str]) -> None:
    if wish.format in PICTURES:
        print_picture(picture_of_trace(trace, wish.format, wish.look.precision), wish.format)
        return
    if wish.format != "table":
        findings = _findings(trace, wish, wish.format)
        terminal.print_text(chunks(trace, wish.format, wish.look, findings=findings))
        return
    from optitrace.views.table import render

    width, ascii_only = terminal.width(), terminal.ascii_only()
    table = render(
        trace,
        wish.look,
        width=width,
        findings=_findings(trace, wish, "table", ascii_only=ascii_only),
        notes=notes,
        plot=plot_of_trace(trace, width=width, ascii_only=ascii_only) if wish.plots else None,
        ascii_only=ascii_only,
    )
    terminal.print_rich(table, wish.color)


def show_again(wish: Wish) -> None:
    """Say how to show the trace again, if it was saved in a file that can be read back."""
    saved = [file.path for file in wish.files if file.format in READABLE and file.path.is_file()]
    if saved:
        terminal.say(f"to see this again: optitrace show {shlex.quote(printable(str(saved[0])))}")


def hints(trace: Trace, wish: Wish) -> list[str]:
    """Return the line that says what else there is to see."""
    more = []
    if not wish.explains and trace.experiment.own is None:
        more.append("--explain")
    if not wish.plots:
        more.append("--plot")
    if trace.state and not wish.look.state:
        more.append(f"--state ({', '.join(trace.state)})")
    if not wish.look.update:
        more.append("--update")
    more += ["--format json", f"optitrace {trace.experiment.optimizer} --help"]
    return [f"more: {', '.join(more)}"]


def leave_if_interrupted(interruption: Interruption) -> None:
    """Exit if a signal came while something saved was shown and its files were written."""
    if interruption.signal is not None:
        terminal.say("interrupted; what was saved is shown.")
        raise typer.Exit(interruption.exit_code)


def finish(trace: Trace, wish: Wish, errors: Sequence[OutputError]) -> None:
    """Exit with what a file that could not be written or the outcome means, if it means any."""
    if errors:
        raise typer.Exit(OutputError.exit_code)
    if wish.strict and trace.outcome.status in (Status.NON_FINITE, Status.TARGET_NOT_REACHED):
        raise typer.Exit(1)


def _write(trace: Trace, wish: Wish) -> list[OutputError]:
    def content(file: OutputFile) -> Chunks:
        if file.format in PICTURES:
            return [picture_of_trace(trace, file.format, wish.look.precision)]
        plot = plot_of_trace(trace) if wish.plots and file.format == "table" else None
        return chunks(trace, file.format, wish.look, findings=_findings(trace, wish, file.format), plot=plot)

    return write_files(wish.files, content)


def _findings(trace: Trace, wish: Wish, format: str, *, ascii_only: bool = False) -> Findings:
    """Return what a format has a place for; the steps that a table shows, and all in JSON."""
    if format not in WITH_FINDINGS:
        return NO_FINDINGS
    theorized = theory(trace) if wish.theorizes else None
    if not wish.explains:
        return Findings(theory=theorized)
    is_table = format == "table"
    explained = explain(
        trace,
        rows=visible_rows(len(trace.steps), wish.look) if is_table else None,
        precision=wish.look.precision,
        coordinate=wish.coordinate,
        spelling=UNICODE if is_table and not ascii_only else ASCII,
    )
    return Findings(explained, theorized)
