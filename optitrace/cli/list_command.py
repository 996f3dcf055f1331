"""`optitrace list`: which optimizers there are. Needs no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from optitrace.cli import terminal
from optitrace.errors import UsageError, quoted
from optitrace.rules.catalogue import OPTIMIZERS, find


def list_optimizers(
    name: Annotated[str | None, typer.Argument(metavar="[OPTIMIZER]", help="Tell of this one alone.")] = None,
    format: Annotated[str, typer.Option("--format", "-f", metavar="table|json", help="Format.")] = "table",
) -> None:
    """List the optimizers, their hyperparameters, defaults and state."""
    from optitrace.views.catalogue_table import catalogue_json, catalogue_table, optimizer_table

    chosen = [find(name)] if name else list(OPTIMIZERS.values())
    if format == "json":
        terminal.print_text([catalogue_json(chosen)])
    elif format == "table":
        width, ascii_only = terminal.width(), terminal.ascii_only()
        if name:
            table = optimizer_table(chosen[0], width=width, ascii_only=ascii_only)
        else:
            table = catalogue_table(chosen, width=width, ascii_only=ascii_only)
        terminal.print_rich(table, "auto")
    else:
        raise UsageError(f"unknown format {quoted(format)}; there are table and json.")
