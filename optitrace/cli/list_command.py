"""`optitrace list`: which optimizers there are. Needs no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from optitrace.cli import terminal
from optitrace.errors import UsageError
from optitrace.rules.catalogue import OPTIMIZERS, find
from optitrace.rules.reader import ASCII, UNICODE


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
        spelling = ASCII if terminal.ascii_only() else UNICODE
        table = optimizer_table(chosen[0], spelling) if name else catalogue_table(chosen)
        terminal.print_rich(table, "auto")
    else:
        raise UsageError(f"unknown format '{format}'; there are table and json.")
