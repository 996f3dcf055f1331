"""`optitrace notebook`: reproduce every result of the document."""

from __future__ import annotations

from typing import Annotated

import typer

from optitrace.cli import options, terminal
from optitrace.cli.torch_loading import load_torch
from optitrace.errors import one_of


def notebook(
    format: Annotated[str, typer.Option("--format", "-f", metavar="table|json", help="Format.")] = "table",
) -> None:
    """Reproduce the documented notebook, result by result; exit with 1 if one differs."""
    one_of("format", format, options.TABLE_OR_JSON)
    load_torch()
    from optitrace.analysis.documented import results
    from optitrace.views.notebook_table import notebook_json, notebook_table

    found = results()
    if format == "json":
        terminal.print_text([notebook_json(found)])
    else:
        table = notebook_table(found, width=terminal.width(), ascii_only=terminal.ascii_only())
        terminal.print_rich(table, "auto")
    if any(result.agree is False for result in found):
        raise typer.Exit(1)
