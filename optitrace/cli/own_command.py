"""The command of a class of a person's own: made when it is named, from the class's signature."""

from __future__ import annotations

from typing import Any

import typer

from optitrace.cli.experiment_runner import apart_from_stdout
from optitrace.cli.torch_loading import load_torch
from optitrace.cli.trace_command import trace_command
from optitrace.experiment.own_class import entry_of


def own_command(name: str, cls: type[Any]) -> Any:
    """Return the command of the class of a name, ``package.module:Class`` or ``path/file.py:Class``.

    Args:
        name: the name.
        cls: Typer's class of commands, of which it is to be one.

    Raises:
        UsageError: there is no such class, or it is no optimizer.
    """
    load_torch()
    with apart_from_stdout():
        optimizer = entry_of(name)
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name, cls=cls, help=optimizer.summary)(trace_command(optimizer))
    command = typer.main.get_command(app)
    command.optimizer = optimizer  # type: ignore[attr-defined]
    return command
