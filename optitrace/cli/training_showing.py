"""Showing a training: on standard output and in files, as `showing` does a trace."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import typer
from rich.console import RenderableType

from optitrace.cli import options, terminal
from optitrace.cli.interruption import Interruption
from optitrace.cli.output_files import Chunks, OutputFile, show_then_write, write_files
from optitrace.cli.picturing import picture_of_training, plot_of_training, print_picture
from optitrace.cli.showing import Wish, leave_if_interrupted
from optitrace.errors import OutputError, UsageError
from optitrace.records.findings import TrainingFindings
from optitrace.records.reader import SavedTraining
from optitrace.records.training import Training
from optitrace.views.formats import PICTURES
from optitrace.views.grid import Look
from optitrace.views.training_formats import training_chunks

PARAMS_OPTION = options.flag(
    "params", panel=options.OUTPUT, help="Show a training with a row for each parameter of each step."
)

OF_TRACES = ("explain", "coordinate", "theory", "update", "rerun")
"""The options that say how to show a trace, and nothing of a training."""


def show_training(saved: SavedTraining, wish: Wish, every: int, given: Mapping[str, Any]) -> None:
    """Show a saved training, write the files that are wished for, and exit with what it means.

    Raises:
        UsageError: an option is for traces alone, or asks for what was not recorded.
    """
    _check(saved.training, given)
    training, findings = saved.training.every_kth(every), saved.findings

    with Interruption() as interruption:
        errors = show_then_write(
            lambda: _print(training, findings, wish),
            lambda: write_training(training, findings, wish.files, wish.look, plots=wish.plots),
        )
    leave_if_interrupted(interruption)
    if errors:
        raise typer.Exit(OutputError.exit_code)
    if wish.strict and findings.has_faults:
        raise typer.Exit(1)


def write_training(
    training: Training,
    findings: TrainingFindings,
    files: Iterable[OutputFile],
    look: Look,
    *,
    plots: bool = False,
) -> list[OutputError]:
    """Write every file that can be written; return what went wrong with the others."""

    def content(file: OutputFile) -> Chunks:
        if file.format in PICTURES:
            return [picture_of_training(training, findings, file.format, look.precision)]
        plot = plot_of_training(training, findings) if plots and file.format == "table" else None
        return training_chunks(training, findings, file.format, look, plot=plot)

    return write_files(files, content)


def training_hints(training: Training, look: Look, *, plots: bool = False) -> list[str]:
    """Return the line that says what else there is to see of what was recorded."""
    more = [] if plots else ["--plot"]
    entries = dict.fromkeys(name for optimizer in training.optimizers for name in optimizer.state)
    if entries and not look.state:
        more.append(f"--state ({', '.join(entries)})")
    if any(optimizer.by_parameter for optimizer in training.optimizers) and not look.by_parameter:
        more.append("--params")
    return [f"more: {', '.join([*more, '--format json'])}"]


def training_tables(
    training: Training,
    findings: TrainingFindings,
    look: Look,
    stream: TextIO,
    *,
    notes: Sequence[str],
    plots: bool,
) -> RenderableType:
    """Return a training as it is shown on a stream: the tables, and the picture below if it is asked for."""
    from optitrace.views.training_table import render_training

    width, ascii_only = terminal.width(stream), terminal.ascii_only(stream)
    return render_training(
        training,
        findings,
        look,
        width=width,
        notes=notes,
        plot=plot_of_training(training, findings, width=width, ascii_only=ascii_only) if plots else None,
        ascii_only=ascii_only,
    )


def _check(training: Training, given: Mapping[str, Any]) -> None:
    """Refuse options that mean nothing for this training."""
    for name in OF_TRACES:
        if given[name]:
            raise UsageError(f"--{name} is for traces, and this is a training; leave it out.")
    for name, recorded in (("state", "state"), ("params", "by_parameter")):
        if given[name] and not any(getattr(optimizer, recorded) for optimizer in training.optimizers):
            raise UsageError(
                f"--{name} shows what this training did not record; record it with 'optitrace run --{name}'."
            )


def _print(training: Training, findings: TrainingFindings, wish: Wish) -> None:
    if wish.format in PICTURES:
        print_picture(picture_of_training(training, findings, wish.format, wish.look.precision), wish.format)
        return
    if wish.format != "table":
        terminal.print_text(training_chunks(training, findings, wish.format, wish.look))
        return
    notes = training_hints(training, wish.look, plots=wish.plots)
    tables = training_tables(training, findings, wish.look, sys.stdout, notes=notes, plots=wish.plots)
    terminal.print_rich(tables, wish.color)
