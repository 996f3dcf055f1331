"""The options of `optitrace sweep`, and what they stand for."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optitrace.cli import options
from optitrace.cli.operands import OPERAND_OPTIONS, design_operand, given_settings
from optitrace.errors import UsageError, did_you_mean, quoted
from optitrace.experiment.text import parse_text, whole_number
from optitrace.rules.catalogue import find
from optitrace.views.sweep_formats import SWEEP_FORMATS

if TYPE_CHECKING:
    from optitrace.analysis.sweeping.measures import Goal
    from optitrace.analysis.sweeping.space import Space
    from optitrace.analysis.sweeping.sweep import Workers


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
    options.format_option(SWEEP_FORMATS),
    options.output_option(SWEEP_FORMATS),
    options.COLOR_OPTION,
)


def read_spaces(given: dict[str, Any]) -> list[Space]:
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


def read_goal(given: dict[str, Any]) -> Goal:
    """Return what is looked for.

    Raises:
        UsageError: the tolerance is no number.
    """
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


def read_workers(given: dict[str, Any]) -> Workers:
    """Return who does the work."""
    from optitrace.analysis.sweeping.sweep import Workers

    threads = whole_number("threads", given["threads"], least=1, most=1024) if given["threads"] else None
    return Workers(threads=threads, backend=given["backend"])


def checked_format(name: str) -> str:
    """Return the name of a format that a sweep has.

    Raises:
        UsageError: there is no such format.
    """
    if name not in SWEEP_FORMATS:
        guess = did_you_mean(name, SWEEP_FORMATS) or ";"
        raise UsageError(f"a sweep has no format {quoted(name)}{guess} there are {', '.join(SWEEP_FORMATS)}.")
    return name
