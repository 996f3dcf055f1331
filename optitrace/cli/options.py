"""The options that commands share, each declared once.

Values are passed on as text; the packages below parse and check them, with the same messages from a shell
and from Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer

from optitrace.cli import terminal
from optitrace.cli.terminal import COLORS
from optitrace.experiment.experiment import GRADIENTS
from optitrace.experiment.objectives import NAMES
from optitrace.experiment.settings import DTYPES
from optitrace.experiment.text import SETTINGS, whole_number
from optitrace.views.display import Display
from optitrace.views.formats import Presenter, writers_of

Function = TypeVar("Function", bound=Callable[..., None])

NO_VALUE = " "
"""The metavar of an option that takes no value."""


def text_option(
    name: str, *names: str, metavar: str, help: str, panel: str, default: str | None = None
) -> inspect.Parameter:
    """Return an option with a text value."""
    option = typer.Option(
        default,
        *names or (f"--{name.replace('_', '-')}",),
        metavar=metavar,
        help=with_default(help, default),
        rich_help_panel=panel,
        show_default=False,
    )
    return parameter(name, str | None, option)


def repeatable_option(name: str, *names: str, metavar: str, help: str, panel: str) -> inspect.Parameter:
    """Return an option that takes a text each time that it is given."""
    option = typer.Option([], *names, metavar=metavar, help=help, rich_help_panel=panel, show_default=False)
    return parameter(name, list[str], option)


def argument(
    name: str, kind: Any, *, metavar: str, help: str, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    """Return an argument, which must be given if it has no default."""
    return parameter(name, Annotated[kind, typer.Argument(metavar=metavar, help=help)], default)


def takes(parameters: Sequence[inspect.Parameter]) -> Callable[[Function], Function]:
    """Decorate a command's function, which takes any keywords, with the parameters of its options."""

    def with_signature(function: Function) -> Function:
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {p.name: p.annotation for p in parameters}
        return function

    return with_signature


def flag(name: str, *, help: str, panel: str) -> inspect.Parameter:
    """Return a flag."""
    option = typer.Option(False, f"--{name}", metavar=NO_VALUE, help=help, rich_help_panel=panel)
    return parameter(name, bool, option)


def with_default(help: str, default: str | None) -> str:
    """Return a help text followed by the default; Typer would put it in two kinds of brackets."""
    return help if default is None else rf"{help} [dim]\[{default}][/]"


def parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """Return a parameter that is given by its name, with Typer's option or a value as its default."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


EXPERIMENT = "Experiment"

EXPERIMENT_OPTIONS = (
    text_option(
        "steps", "--steps", "-n", metavar="N", default="10", panel=EXPERIMENT, help="Number of steps."
    ),
    text_option(
        "gradient",
        metavar="WHEN",
        default="fresh",
        panel=EXPERIMENT,
        help="When the gradient is computed; "
        + "; ".join(f"[bold]{name}[/]: {what}" for name, what in GRADIENTS.items())
        + ".",
    ),
    text_option("start", metavar="W1,W2", panel=EXPERIMENT, help=r"Initial weights. [dim]\[0.5 each][/]"),
    text_option(
        "objective",
        metavar="LOSS",
        default="quadratic",
        panel=EXPERIMENT,
        help=f"The loss: {', '.join(NAMES)}, an expression such as 'w1**2 + sin(w2)', or mine.py:function.",
    ),
    text_option(
        "coefficients",
        metavar="C1,C2",
        panel=EXPERIMENT,
        help=r"The quadratic is C1·w1² + C2·w2² + …, a weight for each coefficient. [dim]\[1,2][/]",
    ),
    text_option(
        "dimension",
        metavar="N",
        panel=EXPERIMENT,
        help="Number of weights of a quadratic without --coefficients.",
    ),
    text_option("condition", metavar="NUMBER", panel=EXPERIMENT, help="Condition number of that quadratic."),
    text_option(
        "rotate", metavar="SEED", panel=EXPERIMENT, help="Rotate the quadratic at random, by this seed."
    ),
    text_option(
        "dtype",
        metavar="DTYPE",
        default="float32",
        panel=EXPERIMENT,
        help=f"Data type of the weights: {', '.join(DTYPES)}.",
    ),
    text_option(
        "device",
        metavar="DEVICE",
        default="cpu",
        panel=EXPERIMENT,
        help="Where to compute: cpu, cuda, cuda:N, auto.",
    ),
    text_option(
        "implementation",
        metavar="HOW",
        default="auto",
        panel=EXPERIMENT,
        help="How torch computes a step: single, foreach, fused, or auto for torch's choice.",
    ),
    text_option("noise", metavar="SIGMA", panel=EXPERIMENT, help="Add Gaussian noise to each gradient."),
    text_option("seed", metavar="N", default="0", panel=EXPERIMENT, help="Seed of the noise."),
    text_option("clip_norm", metavar="X", panel=EXPERIMENT, help="Clip the gradient to this norm."),
    text_option(
        "clip_value",
        metavar="X",
        panel=EXPERIMENT,
        help="Clip each coordinate of the gradient to this absolute value.",
    ),
    text_option(
        "schedule",
        metavar="NAME:KEY=VALUE,…",
        panel=EXPERIMENT,
        help="Change lr by a scheduler of torch, such as StepLR:step_size=10,gamma=0.5.",
    ),
    text_option(
        "until",
        metavar="TARGET",
        panel=EXPERIMENT,
        help="Stop early at loss<X, gradient<X (its norm) or distance<X (from the nearest known minimum).",
    ),
)

OUTPUT = "Output"

PRECISION_OPTION = text_option(
    "precision", metavar="N", default="4", panel=OUTPUT, help="Decimal places in tables."
)

PLOT_OPTION = flag("plot", panel=OUTPUT, help="Plot the numbers of the table below it.")

ALL_OPTION = flag("all", panel=OUTPUT, help="Show every row of a long table.")

DISPLAY_OPTIONS = (
    flag("state", panel=OUTPUT, help="Show the optimizer's state, under torch's names."),
    flag("update", panel=OUTPUT, help="Show the change of the weights in each step."),
    PRECISION_OPTION,
    text_option(
        "every", metavar="K", default="1", panel=OUTPUT, help="Keep the first, every K-th and the last step."
    ),
    flag("explain", panel=OUTPUT, help="Show how the rule computes each number of an update."),
    text_option(
        "coordinate", metavar="I", panel=OUTPUT, help="Explain only this coordinate, counted from 1."
    ),
    flag("theory", panel=OUTPUT, help="Show what theory predicts for sgd on the quadratic."),
    PLOT_OPTION,
    ALL_OPTION,
)


GROUPS_OPTION = flag(
    "groups",
    panel=OUTPUT,
    help="Show the parameter groups of a training: their parameters, lr, dtypes and memory.",
)

COLOR_OPTION = text_option(
    "color", metavar="WHEN", default="auto", panel=OUTPUT, help=f"Use colour: {', '.join(COLORS)}."
)

ALLOW_OPTION = repeatable_option(
    "allow",
    "--allow",
    metavar="CODE[:PATTERN]",
    panel=OUTPUT,
    help="Accept a diagnosis, as in lost-update or 'lost-update:head.*'; 'optitrace list --diagnoses' shows "
    "the codes; repeatable.",
)

STRICT_OPTION = flag(
    "strict", panel=OUTPUT, help="Exit with 1 if a number is not finite, or --until was not reached."
)


def delivery_options(result: type[Presenter]) -> tuple[inspect.Parameter, ...]:
    """Return the options for the formats, files and colour of a kind of result."""
    formats = ", ".join(writers_of(result))
    format_option = text_option(
        "format",
        "--format",
        "-f",
        metavar="FORMAT",
        panel=OUTPUT,
        help=rf"Format of standard output: {formats}. [dim]\[table][/]",
    )
    return format_option, output_option(result), COLOR_OPTION


def output_option(result: type[Presenter]) -> inspect.Parameter:
    """Return the option that names files to write."""
    suffixes = " ".join(writer.suffix for writer in writers_of(result).values())
    return repeatable_option(
        "output",
        "--output",
        "-o",
        metavar="FILE",
        panel=OUTPUT,
        help=f"Also write a file, in the format of its suffix ({suffixes}). Repeatable.",
    )


def read_display(given: Mapping[str, Any]) -> Display:
    """Return the display that the options request; settings without an option have their default.

    Raises:
        UsageError: a value is wrong.
    """
    return Display(
        color=terminal.check_color(given["color"]),
        precision=whole_number("precision", given.get("precision", "4"), most=17),
        state=given.get("state", False),
        update=given.get("update", False),
        all_rows=given.get("all", False),
        by_parameter=given.get("params", False),
        groups=given.get("groups", False),
        plot=given.get("plot", False),
    )


def experiment_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `design` for the experiment's options."""
    return {name: read(name, given[name]) for name, read in SETTINGS.items() if given[name] is not None}
