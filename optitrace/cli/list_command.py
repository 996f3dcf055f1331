"""`optitrace list`: which optimizers there are, and what is known of one, or of a loss. Needs no torch."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import RenderableType

from optitrace.cli import options, terminal
from optitrace.errors import one_of
from optitrace.experiment.objectives import NAMES, find_objective
from optitrace.rules.catalogue import OPTIMIZERS, absences, find


def list_optimizers(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help=f"Tell of this optimizer alone, or of a loss: {', '.join(NAMES)}."
        ),
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", metavar="table|json", help="Format.")] = "table",
) -> None:
    """List the optimizers, their hyperparameters, defaults and state."""
    one_of("format", format, options.TABLE_OR_JSON)
    if format == "json":
        terminal.print_text([_data(name)])
    else:
        terminal.print_rich(_table(name), "auto")


def _data(name: str | None) -> str:
    from optitrace.views.catalogue_table import catalogue_json
    from optitrace.views.objective_table import objective_json

    if _is_objective(name):
        return objective_json(find_objective(str(name)))
    return catalogue_json([find(name)] if name else OPTIMIZERS.values())


def _table(name: str | None) -> RenderableType:
    from optitrace.views.catalogue_table import catalogue_table, optimizer_table
    from optitrace.views.objective_table import objective_table

    width, ascii_only = terminal.width(), terminal.ascii_only()
    if _is_objective(name):
        return objective_table(find_objective(str(name)), ascii_only=ascii_only)
    if name:
        notes = absences([find(name)])
        return optimizer_table(find(name), width=width, notes=notes, ascii_only=ascii_only)
    notes = absences(OPTIMIZERS.values())
    return catalogue_table(OPTIMIZERS.values(), width=width, notes=notes, ascii_only=ascii_only)


def _is_objective(name: str | None) -> bool:
    return name is not None and name.lower() in NAMES
