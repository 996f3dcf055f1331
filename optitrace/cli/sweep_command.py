"""`optitrace sweep OPTIMIZER … -P lr=log:1e-4:1:200`: which settings are best."""

from __future__ import annotations

import inspect
import math
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from optitrace.cli import options, terminal
from optitrace.cli.command_line import command_line
from optitrace.cli.interruption import Interruption
from optitrace.cli.operands import OPERAND_OPTIONS, design_operand, given_settings
from optitrace.cli.output_files import OutputFile, plan_files, write_file
from optitrace.cli.sweep_progress import SweepProgress
from optitrace.cli.torch_loading import load_torch
from optitrace.errors import OutputError, UsageError, did_you_mean, quoted
from optitrace.experiment.text import parse_text, whole_number
from optitrace.rules.catalogue import find

if TYPE_CHECKING:
    from optitrace.analysis.sweeping.blocks import Block
    from optitrace.analysis.sweeping.measures import Goal
    from optitrace.analysis.sweeping.space import Space
    from optitrace.analysis.sweeping.sweep import Sweep, Workers

FORMATS = ("table", "json", "jsonl", "csv", "tsv")

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

OPERANDS = inspect.Parameter(
    "optimizers",
    inspect.Parameter.KEYWORD_ONLY,
    annotation=Annotated[
        list[str],
        typer.Argument(metavar="OPTIMIZER", help="One or several, as adam or sgd:momentum=0.9."),
    ],
)

SWEEP = "Sweep"

VARIED_OPTION = inspect.Parameter(
    "varied",
    inspect.Parameter.KEYWORD_ONLY,
    default=typer.Option(
        [],
        "--param",
        "-P",
        metavar="NAME=VALUES",
        help="What is varied, and over which values; repeatable.",
        rich_help_panel=SWEEP,
        show_default=False,
    ),
    annotation=list[str],
)

SWEEP_OPTIONS = (
    VARIED_OPTION,
    options.text_option(
        "random", metavar="N", panel=SWEEP, help="Draw N configurations from the ranges, by --seed."
    ),
    options.text_option(
        "rank",
        metavar="BY",
        default="final_loss",
        panel=SWEEP,
        help="final_loss, steps (to the tolerance), distance (from the minimum) or path (its length).",
    ),
    options.text_option(
        "tolerance",
        metavar="X",
        default="1e-6",
        panel=SWEEP,
        help="A loss this close to the minimum's has converged.",
    ),
    options.text_option("threads", metavar="N", panel=SWEEP, help="Threads. [dim]\\[one a core][/]"),
    options.text_option(
        "backend",
        metavar="NAME",
        default="loky",
        panel=SWEEP,
        help="Where a class without a rule is stepped: loky, this machine; dask or ray, a cluster.",
    ),
    options.flag("yes", panel=SWEEP, help="Run more than 100 million configurations."),
    *OPERAND_OPTIONS,
    options.PRECISION_OPTION,
    options.format_option(FORMATS),
    options.output_option(FORMATS),
    options.COLOR_OPTION,
)


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
    format = _checked_format(given["format"]) if given["format"] else "table"
    color = terminal.check_color(given["color"])
    files = plan_files(given["output"], given["format"] and format)
    for file in files:
        _checked_format(file.format)
    spaces = _spaces(given)
    load_torch()
    goal, workers = _goal(given), _workers(given)
    from optitrace.analysis.sweeping.sweep import check_space

    for space in spaces:
        check_space(space, goal, workers)
    with ExitStack() as stack:
        formats = dict.fromkeys([format, *(file.format for file in files)])
        rows = {f: Rows(f, _temporary(stack)) for f in formats if f != "table"}
        with Interruption() as interruption:
            sweeps = _swept(spaces, goal, workers, rows, interruption)
        commands = [_command(sweep) for sweep in sweeps]
        errors = _write(files, rows, sweeps, commands, precision)
        _show(sweeps, commands, rows, format, precision, color)
    for error in errors:
        terminal.say(str(error))
    if interruption.signal is not None:
        done, planned = sum(sweep.finished for sweep in sweeps), sum(space.size for space in spaces)
        terminal.say(f"interrupted after {done:,} of {planned:,} configurations; what is finished is shown.")
        raise typer.Exit(interruption.exit_code)
    if errors:
        raise typer.Exit(OutputError.exit_code)


def _spaces(given: dict[str, Any]) -> list[Space]:
    from optitrace.analysis.sweeping.space import lay_out

    seed = whole_number("seed", given["seed"], most=2**63 - 1) if given["seed"] else 0
    samples = whole_number("random", given["random"], least=1) if given["random"] else None
    settings = given_settings(given)
    names = given["optimizers"]
    for name in names:
        if ":" not in (optimizer := parse_text(name).name):
            find(optimizer)
    if len(set(names)) < len(names):
        raise UsageError("an optimizer is named twice; name each once.")
    return [
        lay_out(
            design_operand(name, settings),
            given["varied"],
            samples=samples,
            seed=seed,
            confirmed=given["yes"],
        )
        for name in names
    ]


def _goal(given: dict[str, Any]) -> Goal:
    from optitrace.analysis.sweeping.measures import Goal

    try:
        tolerance = float(given["tolerance"])
    except ValueError:
        tolerance = math.nan
    if not 0 <= tolerance < math.inf:
        raise UsageError(
            f"tolerance is {quoted(given['tolerance'])}; it must be a number from 0 on, such as 1e-6."
        )
    return Goal(given["rank"], tolerance)


def _workers(given: dict[str, Any]) -> Workers:
    from optitrace.analysis.sweeping.sweep import Workers

    threads = whole_number("threads", given["threads"], least=1, most=1024) if given["threads"] else None
    return Workers(threads=threads, backend=given["backend"])


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
    from optitrace.views.sweep_rows import whole_file
    from optitrace.views.sweep_table import sweep_table

    errors = []
    for file in files:
        try:
            if file.format == "table":
                write_file(file.path, [plain_text(sweep_table(sweeps, commands, precision=precision))])
            else:
                spool = rows[file.format].file
                spool.seek(0)
                write_file(file.path, whole_file(sweeps, commands, spool, file.format))
        except OutputError as error:
            errors.append(error)
    return errors


def _show(
    sweeps: Sequence[Sweep],
    commands: Sequence[str],
    rows: dict[str, Rows],
    format: str,
    precision: int,
    color: str,
) -> None:
    from optitrace.views.sweep_rows import whole_file
    from optitrace.views.sweep_table import sweep_table

    if not sweeps:
        return
    if format != "table":
        spool = rows[format].file
        spool.seek(0)
        terminal.print_text(whole_file(sweeps, commands, spool, format))
        return
    shown = sweep_table(
        sweeps, commands, precision=precision, width=terminal.width(), ascii_only=terminal.ascii_only()
    )
    terminal.print_rich(shown, color)


def _checked_format(name: str) -> str:
    if name not in FORMATS:
        guess = did_you_mean(name, FORMATS) or ";"
        raise UsageError(f"a sweep has no format {quoted(name)}{guess} there are {', '.join(FORMATS)}.")
    return name


_PARAMETERS = (OPERANDS, *SWEEP_OPTIONS)
sweep_optimizers.__signature__ = inspect.Signature(_PARAMETERS)  # type: ignore[attr-defined]
sweep_optimizers.__annotations__ = {parameter.name: parameter.annotation for parameter in _PARAMETERS}
