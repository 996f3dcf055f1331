"""The options of an optimizer's hyperparameters, made from what the catalogue knows of them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

import typer

from optitrace.cli.options import NO_VALUE, parameter, with_default
from optitrace.errors import UsageError, quoted
from optitrace.rules.hyperparameter import Hyperparameter, describe, show
from optitrace.rules.optimizer import Optimizer

HYPERPARAMETERS = "Hyperparameters"


def hyperparameter_option(hyperparameter: Hyperparameter) -> inspect.Parameter:
    """Return the option of a hyperparameter: its name with dashes, and a switch for true or false."""
    name = hyperparameter.name.replace("_", "-")
    is_switch = hyperparameter.type is bool
    option = typer.Option(
        None,
        f"--{name}/--no-{name}" if is_switch else f"--{name}",
        metavar=NO_VALUE if is_switch else _metavar(hyperparameter),
        help=with_default(_explained(hyperparameter), show(hyperparameter.default)),
        rich_help_panel=HYPERPARAMETERS,
        show_default=False,
    )
    return parameter(hyperparameter.name, bool | None if is_switch else str | None, option)


SET_OPTION = parameter(
    "set",
    list[str],
    typer.Option(
        [],
        "--set",
        metavar="NAME=VALUE",
        help="Give a hyperparameter that has no option of its own, or needs a value of another type.",
        rich_help_panel=HYPERPARAMETERS,
        show_default=False,
    ),
)


def set_values(optimizer: Optimizer, texts: Sequence[str]) -> dict[str, Any]:
    """Return the hyperparameters that ``--set NAME=VALUE`` gives.

    Raises:
        UsageError: a text is not of that form, or there is no such hyperparameter.
    """
    known = {h.name: h for h in optimizer.hyperparameters}
    values = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"{quoted(text)} sets nothing; write --set NAME=VALUE.")
        if name not in known:
            raise UsageError(optimizer.has_no(name))
        values[name] = known[name].parse(value)
    return values


def _explained(hyperparameter: Hyperparameter) -> str:
    """Return what a hyperparameter does, and the words that it can be, if it is one of a few."""
    members = (hyperparameter.type, *get_args(hyperparameter.type))
    if any(get_origin(member) is Literal for member in members):
        words = describe(hyperparameter.type)
        return f"{hyperparameter.summary.removesuffix('.')}: {words}." if hyperparameter.summary else words
    return hyperparameter.summary


def _metavar(hyperparameter: Hyperparameter) -> str:
    """Return what stands for a value in help: NUMBER, N, the words there are, or A,B for a pair."""
    kind = hyperparameter.type
    if get_origin(kind) is tuple:
        return ",".join("ABCDEFGH"[: len(get_args(kind))])
    described = describe(kind).removesuffix(" or none")
    if described == "a whole number":
        return "N"
    return "NUMBER" if described.endswith("a number") else "WORD"
