"""The options that commands share, each declared once.

Values come as text: what they mean, and what is wrong with them, is said by the rooms below, in the
same words from a shell as from Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import typer

from optitrace.cli.terminal import COLORS
from optitrace.errors import UsageError
from optitrace.experiment.experiment import DTYPES, GRADIENTS
from optitrace.rules.hyperparameter import Hyperparameter, describe, show
from optitrace.views.formats import FORMATS
from optitrace.views.grid import Look


def text_option(
    name: str, *names: str, metavar: str, help: str, panel: str, default: str | None = None
) -> inspect.Parameter:
    """Return an option that takes a text."""
    option = typer.Option(
        default,
        *names or (f"--{name.replace('_', '-')}",),
        metavar=metavar,
        help=help,
        rich_help_panel=panel,
        show_default=default is not None,
    )
    return _parameter(name, str | None, option)


def flag(name: str, *names: str, help: str, panel: str) -> inspect.Parameter:
    """Return an option that is on or off."""
    option = typer.Option(False, *names or (f"--{name}",), help=help, rich_help_panel=panel)
    return _parameter(name, bool, option)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def hyperparameter_option(hyperparameter: Hyperparameter) -> inspect.Parameter:
    """Return the option of a hyperparameter: its name with dashes, and a switch for true or false."""
    option_name = f"--{hyperparameter.name.replace('_', '-')}"
    panel = "Hyperparameters"
    if hyperparameter.type is bool:
        option = typer.Option(
            None,
            f"{option_name}/--no-{option_name[2:]}",
            help=hyperparameter.summary,
            rich_help_panel=panel,
            show_default=show(hyperparameter.default),
        )
        return _parameter(hyperparameter.name, bool | None, option)
    option = typer.Option(
        None,
        option_name,
        metavar=_metavar(hyperparameter),
        help=hyperparameter.summary,
        rich_help_panel=panel,
        show_default=show(hyperparameter.default),
    )
    return _parameter(hyperparameter.name, str | None, option)


def _metavar(hyperparameter: Hyperparameter) -> str:
    kind = describe(hyperparameter.type)
    if " such as " in kind:
        return ",".join("ABC"[: kind.count(",") + 1])
    return {"a number": "NUMBER", "a whole number": "N"}.get(kind, kind.replace(" or ", "|").upper())


EXPERIMENT = "Experiment"

EXPERIMENT_OPTIONS = (
    text_option("steps", "--steps", "-n", metavar="N", default="10", panel=EXPERIMENT, help="Steps to take."),
    text_option(
        "gradient",
        metavar="|".join(GRADIENTS),
        default="fresh",
        panel=EXPERIMENT,
        help="; ".join(f"{name}: {what}" for name, what in GRADIENTS.items()) + ".",
    ),
    text_option("start", metavar="W1,W2,…", panel=EXPERIMENT, help="Weights at the start (0.5 each)."),
    text_option(
        "coefficients",
        metavar="C1,C2,…",
        default="1,2",
        panel=EXPERIMENT,
        help="The loss is C1·w1² + C2·w2² + …, with a weight for each coefficient.",
    ),
    text_option(
        "dtype", metavar="|".join(DTYPES), default="float32", panel=EXPERIMENT, help="Dtype of the weights."
    ),
    text_option(
        "device", metavar="cpu|cuda|cuda:N|auto", default="cpu", panel=EXPERIMENT, help="Where to compute."
    ),
    text_option(
        "implementation",
        metavar="auto|single|foreach|fused",
        default="auto",
        panel=EXPERIMENT,
        help="How torch computes a step.",
    ),
)

OUTPUT = "Output"

LOOK_OPTIONS = (
    flag("state", panel=OUTPUT, help="Show the optimizer's state, under torch's names."),
    flag("update", panel=OUTPUT, help="Show the change of the weights."),
    text_option("precision", metavar="N", default="4", panel=OUTPUT, help="Decimals in a table."),
    text_option("every", metavar="K", default="1", panel=OUTPUT, help="Keep every K-th step and the last."),
    flag("all", panel=OUTPUT, help="Show every row of a long table."),
)

WRITING_OPTIONS = (
    text_option(
        "format", "--format", "-f", metavar="|".join(FORMATS), panel=OUTPUT, help="Format on standard output."
    ),
    _parameter(
        "output",
        list[str],
        typer.Option(
            [],
            "--output",
            "-o",
            metavar="FILE",
            help="Write a file too, in the format of its suffix; can be repeated.",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ),
    text_option(
        "color", metavar="|".join(COLORS), default="auto", panel=OUTPUT, help="When to use colour."
    ),
)

STRICT_OPTION = flag("strict", panel=OUTPUT, help="Exit with 1 if a number is no longer finite.")


def whole_number(name: str, text: str, *, least: int, most: int | None = None) -> int:
    """Return the whole number that a text stands for.

    Raises:
        UsageError: it is none, or out of its range.
    """
    allowed = f"a whole number from {least} {'on' if most is None else f'to {most}'}"
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least or (most is not None and number > most):
        raise UsageError(f"{name} is '{text}'; it must be {allowed}.")
    return number


def numbers(name: str, text: str) -> tuple[float, ...]:
    """Return the numbers that a text stands for, separated by commas or semicolons.

    Raises:
        UsageError: a part of it is no number.
    """
    parts = text.replace(";", ",").split(",")
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise UsageError(
            f"{name} is '{text}'; it must be numbers separated by commas, such as 0.5,0.5."
        ) from None


def look(given: Mapping[str, Any]) -> Look:
    """Return the look that the options ask for."""
    return Look(
        precision=whole_number("precision", given["precision"], least=0, most=17),
        state=given["state"],
        update=given["update"],
        all_rows=given["all"],
    )


def experiment_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `design` that the experiment's options stand for."""
    settings: dict[str, Any] = {
        "steps": whole_number("steps", given["steps"], least=0),
        "coefficients": numbers("coefficients", given["coefficients"]),
    }
    if given["start"] is not None:
        settings["start"] = numbers("start", given["start"])
    for name in ("gradient", "dtype", "device", "implementation"):
        settings[name] = given[name]
    return settings

