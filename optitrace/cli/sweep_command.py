"""`optitrace sweep OPTIMIZER … -P lr=log:1e-4:1:200`: find the best settings."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

from optitrace.cli import options
from optitrace.cli.delivery import Delivery, leave, leave_if_interrupted, plan_delivery
from optitrace.cli.experiment_runner import load_torch
from optitrace.cli.interruption import Interruption
from optitrace.cli.operands import OPERAND_OPTIONS, design_operand, given_settings
from optitrace.cli.progress import Bar
from optitrace.errors import OutputError, UsageError
from optitrace.experiment.text import command_line, non_negative, parse_text, whole_number
from optitrace.experiment.user_class import entry_of
from optitrace.views.formats import HasJson, HasJsonLines, HasRows, is_picture
from optitrace.views.presenters.sweep import Columns, SweepPresenter, columns_of

if TYPE_CHECKING:
    from optitrace.analysis.sweeping.blocks import Block
    from optitrace.analysis.sweeping.measures import Goal
    from optitrace.analysis.sweeping.space import Space
    from optitrace.analysis.sweeping.sweep import SweepResult, Workers

HELP = """\
Run an optimizer under every combination of settings, and rank them.

[bold]-P lr=0.1,0.2,0.5[/] lists values; [bold]-P lr=0.1:0.9:17[/] takes 17 from 0.1 to 0.9, \
evenly spaced; [bold]-P lr=log:1e-4:1:200[/] log-spaced. A number of several is named by its position \
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

SWEEP = "Sweep"

ROW_PARTS = (HasJson, HasJsonLines, HasRows)
"""The parts of a sweep that have every configuration."""

PARAMETERS = (
    options.argument(
        "optimizers",
        list[str],
        metavar="OPTIMIZER",
        help="One or more optimizers, such as adam or sgd:momentum=0.9.",
    ),
    options.repeatable_option(
        "varied",
        "--param",
        "-P",
        metavar="NAME=VALUES",
        panel=SWEEP,
        help="A setting to vary, and its values. Repeatable.",
    ),
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
        help="A run whose final loss is this close to the minimum has converged.",
    ),
    options.text_option(
        "threads", metavar="N", panel=SWEEP, help="Number of threads. [dim]\\[one a core][/]"
    ),
    options.text_option(
        "backend",
        metavar="NAME",
        default="loky",
        panel=SWEEP,
        help="Where optimizers without a rule run: loky (this machine), dask or ray (a cluster).",
    ),
    options.flag("yes", panel=SWEEP, help="Run more than 100 million configurations."),
    *OPERAND_OPTIONS,
    options.PRECISION_OPTION,
    *options.delivery_options(SweepPresenter),
)


@options.takes(PARAMETERS)
def sweep_optimizers(**given: Any) -> None:
    """Sweep each optimizer, write the files, and show what was found."""
    delivery = plan_delivery(given, SweepPresenter)
    spaces = _read_spaces(given)
    load_torch()
    goal, workers = _read_goal(given), _read_workers(given)
    from optitrace.analysis.sweeping.sweep import check_space

    _check_pictures(spaces, delivery)
    for space in spaces:
        check_space(space, goal, workers)
    has_rows = any(writer.takes in ROW_PARTS for writer in delivery.writers)
    with ExitStack() as stack, Interruption() as interruption:
        rows = SweptRows(stack.enter_context(_temporary_file())) if has_rows else None
        sweeps = _swept(spaces, goal, workers, rows, interruption)
        commands = [_command(sweep) for sweep in sweeps]
        found = SweepPresenter(sweeps, commands, rows or tuple)
        unwritten = delivery.deliver(found) if sweeps else []
    done, planned = sum(sweep.finished for sweep in sweeps), sum(space.size for space in spaces)
    leave_if_interrupted(
        interruption,
        f"interrupted after {done:,} of {planned:,} configurations; what is finished is shown.",
    )
    leave(unwritten)


class SweptRows:
    """Every configuration of a sweep, in a temporary file until the sweep is over."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, space: Space, block: Block) -> None:
        """Add the configurations of a block."""
        pickle.dump(columns_of(space, block), self._file, pickle.HIGHEST_PROTOCOL)

    def __call__(self) -> Iterator[Columns]:
        """Yield what was added, from the beginning."""
        self._file.seek(0)
        while self._file.peek(1):  # type: ignore[attr-defined]
            yield pickle.load(self._file)


def _read_spaces(given: dict[str, Any]) -> list[Space]:
    """Return the space of each optimizer.

    Raises:
        UsageError: an optimizer or an axis cannot be read, or one is named twice.
    """
    from optitrace.analysis.sweeping.space import lay_out

    seed = whole_number("seed", given["seed"], most=2**63 - 1) if given["seed"] else 0
    samples = whole_number("random", given["random"], least=1) if given["random"] else None
    settings = given_settings(given)
    names = given["optimizers"]
    for name in names:
        if ":" not in (optimizer := parse_text(name).name):
            entry_of(optimizer)
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


def _read_goal(given: dict[str, Any]) -> Goal:
    """Return the goal.

    Raises:
        UsageError: the tolerance is not a number.
    """
    from optitrace.analysis.sweeping.measures import Goal

    return Goal(given["rank"], non_negative("tolerance", given["tolerance"]))


def _read_workers(given: dict[str, Any]) -> Workers:
    from optitrace.analysis.sweeping.sweep import Workers

    threads = whole_number("threads", given["threads"], least=1, most=1024) if given["threads"] else None
    return Workers(threads=threads, backend=given["backend"])


def _check_pictures(spaces: Sequence[Space], delivery: Delivery) -> None:
    """Refuse a picture if the varied settings cannot be drawn."""
    from optitrace.analysis.sweeping.loss_map import drawn_axes

    asked = [writer.name for writer in delivery.writers if is_picture(writer)]
    if asked and any(drawn_axes(space) is None for space in spaces):
        raise UsageError(
            f"no {asked[0]} can be drawn of what is varied here; vary one or two numbers, or write csv."
        )


def _swept(
    spaces: Sequence[Space],
    goal: Goal,
    workers: Workers,
    rows: SweptRows | None,
    interruption: Interruption,
) -> list[SweepResult]:
    from optitrace.analysis.sweeping.sweep import sweep

    sweeps = []
    with Bar("configurations", sum(space.size for space in spaces), with_rate=True) as progress:
        for space in spaces:
            if interruption():
                break

            def take(block: Block, space: Space = space) -> None:
                progress.advance(len(block))
                if rows is not None:
                    rows.add(space, block)

            sweeps.append(sweep(space, goal, workers=workers, stop=interruption, take=take))
    return sweeps


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise OutputError(
            f"cannot make a temporary file: {error.strerror}; set TMPDIR to a folder with room."
        ) from error


def _command(sweep: SweepResult) -> str:
    return command_line(sweep.experiment(sweep.best[0].configuration)) if sweep.best else ""
