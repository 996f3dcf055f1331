"""`optitrace sweep OPTIMIZER … -P lr=log:1e-4:1:200`: which settings are best."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import typer

from optitrace.cli import terminal
from optitrace.cli.command_line import command_line
from optitrace.cli.interruption import Interruption
from optitrace.cli.output_files import Chunks, OutputFile, plan_files, show_then_write, write_files
from optitrace.cli.picturing import check_formats, check_sweep_pictures, picture_of_sweeps, print_picture
from optitrace.cli.sweep_options import (
    OPERANDS,
    SWEEP_OPTIONS,
    checked_format,
    read_goal,
    read_spaces,
    read_workers,
)
from optitrace.cli.sweep_progress import SweepProgress
from optitrace.cli.torch_loading import load_torch
from optitrace.errors import OutputError
from optitrace.experiment.text import whole_number
from optitrace.views.formats import PICTURES
from optitrace.views.sweep_formats import ROW_FORMATS

if TYPE_CHECKING:
    from optitrace.analysis.sweeping.blocks import Block
    from optitrace.analysis.sweeping.measures import Goal
    from optitrace.analysis.sweeping.space import Space
    from optitrace.analysis.sweeping.sweep import Sweep, Workers

HELP = """\
Run an optimizer under every combination of settings, and rank them.

[bold]-P lr=0.1,0.2,0.5[/] lists values; [bold]-P lr=0.1:0.9:17[/] takes 17 from 0.1 to 0.9 in \
equal steps; [bold]-P lr=log:1e-4:1:200[/] in equal ratios. A number of several is named by its position \
from 0, as in [bold]betas.1[/]; every hyperparameter can be varied, and [bold]start[/] and \
[bold]coefficients[/].

The update rules are run for many settings at once; the best setting and nine others are then traced \
with torch itself, and compared.
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace sweep adam -P lr=log:1e-4:1:200 -n 100
  optitrace sweep sgd -P lr=log:1e-3:1:100 -P momentum=0:0.99:40 -n 100
  optitrace sweep sgd adam rmsprop -P lr=log:1e-4:1:100 --rank steps -n 200
  optitrace sweep adam -P lr=log:1e-4:1 -P betas.1=0.5:0.999 --random 10000
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a sweep in one format, in a temporary file until the sweep is over.

    Attributes:
        format: the format.
        file: the rows.
    """

    format: str
    file: IO[str]

    def add(self, space: Space, block: Block) -> None:
        """Add the rows of a block."""
        from optitrace.views.sweep_rows import header, row_chunks

        if self.file.tell() == 0 and self.format in ("csv", "tsv"):
            self.file.write(header(space, block, self.format))
        self.file.writelines(row_chunks(space, block, self.format))


def sweep_optimizers(**given: Any) -> None:
    """Sweep each optimizer, write the files, and show what was found."""
    precision = whole_number("precision", given["precision"], most=17)
    format = checked_format(given["format"]) if given["format"] else "table"
    color = terminal.check_color(given["color"])
    files = plan_files(given["output"], given["format"] and format)
    for file in files:
        checked_format(file.format)
    check_formats(format, files)
    spaces = read_spaces(given)
    load_torch()
    goal, workers = read_goal(given), read_workers(given)
    from optitrace.analysis.sweeping.sweep import check_space

    formats = list(dict.fromkeys([format, *(file.format for file in files)]))
    check_sweep_pictures(spaces, formats)
    for space in spaces:
        check_space(space, goal, workers)
    with ExitStack() as stack:
        rows = {f: Rows(f, _temporary(stack)) for f in formats if f in ROW_FORMATS}
        with Interruption() as interruption:
            sweeps = _swept(spaces, goal, workers, rows, interruption)
            commands = [_command(sweep) for sweep in sweeps]
            errors = show_then_write(
                lambda: _show(sweeps, commands, rows, format, precision, color),
                lambda: _write(files, rows, sweeps, commands, precision) if sweeps else [],
            )
    if interruption.signal is not None:
        done, planned = sum(sweep.finished for sweep in sweeps), sum(space.size for space in spaces)
        terminal.say(f"interrupted after {done:,} of {planned:,} configurations; what is finished is shown.")
        raise typer.Exit(interruption.exit_code)
    if errors:
        raise typer.Exit(OutputError.exit_code)


def _swept(
    spaces: Sequence[Space],
    goal: Goal,
    workers: Workers,
    rows: dict[str, Rows],
    interruption: Interruption,
) -> list[Sweep]:
    from optitrace.analysis.sweeping.sweep import sweep

    sweeps = []
    with SweepProgress(sum(space.size for space in spaces)) as progress:
        for space in spaces:
            if interruption():
                break

            def take(block: Block, space: Space = space) -> None:
                progress.advance(len(block))
                for each in rows.values():
                    each.add(space, block)

            sweeps.append(sweep(space, goal, workers=workers, stop=interruption, take=take))
    return sweeps


def _temporary(stack: ExitStack) -> IO[str]:
    try:
        return stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", newline=""))
    except OSError as error:
        raise OutputError(
            f"cannot make a temporary file: {error.strerror}; set TMPDIR to a folder with room."
        ) from error


def _command(sweep: Sweep) -> str:
    return command_line(sweep.experiment(sweep.best[0].configuration)) if sweep.best else ""


def _write(
    files: Sequence[OutputFile],
    rows: dict[str, Rows],
    sweeps: Sequence[Sweep],
    commands: Sequence[str],
    precision: int,
) -> list[OutputError]:
    """Write every file that can be written; return what went wrong with the others."""
    from optitrace.views.plain import plain_text
    from optitrace.views.sweep_table import sweep_table

    def chunks(file: OutputFile) -> Chunks:
        if file.format in PICTURES:
            return [picture_of_sweeps(sweeps, file.format)]
        if file.format == "table":
            return [plain_text(sweep_table(sweeps, commands, precision=precision))]
        return _chunks(file.format, rows, sweeps, commands, precision)

    return write_files(files, chunks)


def _chunks(
    format: str, rows: dict[str, Rows], sweeps: Sequence[Sweep], commands: Sequence[str], precision: int
) -> Iterable[str]:
    """Return the sweeps in a format for a script, or to be pasted."""
    if format in ROW_FORMATS:
        from optitrace.views.sweep_rows import whole_file

        spool = rows[format].file
        spool.seek(0)
        return whole_file(sweeps, commands, spool, format)
    from optitrace.views.sweep_text import sweep_markdown

    return sweep_markdown(sweeps, commands, precision)


def _show(
    sweeps: Sequence[Sweep],
    commands: Sequence[str],
    rows: dict[str, Rows],
    format: str,
    precision: int,
    color: str,
) -> None:
    from optitrace.views.sweep_table import sweep_table

    if not sweeps:
        return
    if format in PICTURES:
        print_picture(picture_of_sweeps(sweeps, format), format)
        return
    if format != "table":
        terminal.print_text(_chunks(format, rows, sweeps, commands, precision))
        return
    shown = sweep_table(
        sweeps, commands, precision=precision, width=terminal.width(), ascii_only=terminal.ascii_only()
    )
    terminal.print_rich(shown, color)


_PARAMETERS = (OPERANDS, *SWEEP_OPTIONS)
sweep_optimizers.__signature__ = inspect.Signature(_PARAMETERS)  # type: ignore[attr-defined]
sweep_optimizers.__annotations__ = {parameter.name: parameter.annotation for parameter in _PARAMETERS}
