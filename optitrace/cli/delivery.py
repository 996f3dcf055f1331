"""Delivering a result: on standard output and in files, the same for every command."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import typer
from rich.console import Group

from optitrace.cli import terminal
from optitrace.cli.experiment_runner import load_torch
from optitrace.cli.interruption import Interruption
from optitrace.cli.options import read_display
from optitrace.cli.output_files import OutputFile, cannot_write, plan_files, write_file
from optitrace.errors import OutputError, UsageError
from optitrace.experiment.user_module import reason
from optitrace.views.display import Display
from optitrace.views.formats import (
    Chunks,
    HasPicture,
    Presenter,
    Writer,
    check_drawable,
    find_writer,
    is_picture,
)
from optitrace.views.tables import as_text


@dataclass(frozen=True, slots=True)
class Delivery:
    """The destinations of a result.

    Attributes:
        writer: the format on standard output.
        files: the files to write.
        display: the requested parts of the result, and their format.
    """

    writer: Writer
    files: Sequence[OutputFile]
    display: Display

    @property
    def writers(self) -> Sequence[Writer]:
        """The formats that are written, on standard output and in files."""
        return [self.writer, *(file.writer for file in self.files)]

    @property
    def is_table(self) -> bool:
        """Whether standard output is a table."""
        return self.writer.takes is Presenter

    def deliver(self, result: Presenter, notes: Sequence[str] = ()) -> list[OutputError]:
        """Show a result, then write its files even if it cannot be shown.

        Args:
            result: the result.
            notes: lines to set below a table on standard output.

        Returns:
            The reasons why files could not be written, which were printed.
        """
        self._prepare(result)
        failure = None
        try:
            self._show(result, notes)
        except Exception as error:
            failure = error
        errors = self.write(result)
        for unwritten in errors:
            terminal.say(str(unwritten))
        if failure is not None:
            raise failure
        return errors

    def print_table(self, result: Presenter, notes: Sequence[str] = (), stream: TextIO | None = None) -> None:
        """Print a table, on standard output if no other stream is given.

        Raises:
            OutputError: the stream cannot be written to.
        """
        display = terminal.fit(self.display, stream)
        shown = Group(result.table(display), *as_text(notes, display))
        terminal.print_rich(shown, display.color, stream)

    def write(self, result: Presenter) -> list[OutputError]:
        """Write every file that can be written; return what went wrong with the others."""
        errors = []
        for file in self.files:
            try:
                write_file(file.path, _content(result, file.writer, self.display.for_files()))
            except OutputError as error:
                errors.append(error)
            except Exception as error:  # a fault in one format loses no other file
                errors.append(cannot_write(file.path, f"{reason(error)}; choose another format"))
        return errors

    def _prepare(self, result: Presenter) -> None:
        """Load what draws a result, if it is drawn, and report what is left out of the picture."""
        is_drawn = self.display.plot or any(is_picture(writer) for writer in self.writers)
        if not is_drawn or not isinstance(result, HasPicture):
            return
        if result.needs_torch:
            load_torch()
        if sentence := result.not_drawn():
            terminal.say(sentence)

    def _show(self, result: Presenter, notes: Sequence[str]) -> None:
        if self.is_table:
            self.print_table(result, notes)
            return
        terminal.print_content(_content(result, self.writer, self.display))


def plan_delivery(given: Mapping[str, Any], result: type[Presenter]) -> Delivery:
    """Return the destinations of a kind of result, after checking them.

    Args:
        given: the values of `delivery_options`, and of others that say how it is to be shown.
        result: the kind of result.

    Raises:
        UsageError: a value is wrong, or the result has no such format.
        OutputError: a file cannot be written.
    """
    display = read_display(given)
    asked = find_writer(given["format"], result) if given["format"] else None
    writer = asked or find_writer("table", result)
    if display.plot and writer.takes is not Presenter:
        raise UsageError(f"{writer.name} cannot include a plot; leave out --plot or --format.")
    files = plan_files(given["output"], result, asked)
    if writer.is_binary and terminal.is_terminal(sys.stdout):
        raise UsageError(
            f"{writer.name} cannot be shown in a terminal; write it with --output FILE{writer.suffix}."
        )
    check_drawable([writer, *(file.writer for file in files)])
    return Delivery(writer, files, display)


def leave_if_interrupted(interruption: Interruption, said: str) -> None:
    """Print a message and exit as a process ended by a signal, if one was received."""
    if interruption.signal is not None:
        terminal.say(said)
        raise typer.Exit(interruption.exit_code)


def leave(unwritten: Sequence[OutputError], *, is_no: bool = False) -> None:
    """Exit with 4 if files could not be written, or with 1 if the answer is no."""
    if unwritten:
        raise typer.Exit(OutputError.exit_code)
    if is_no:
        raise typer.Exit(1)


def _content(result: Presenter, writer: Writer, display: Display) -> Chunks:
    """Return a result in a format; a picture is whole before anything of it is written."""
    content = writer.write(result, display)
    return list(content) if is_picture(writer) else content
