"""The document's results beside ours, for a person and for a script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.documented import CELLS, Result
from optitrace.text.ascii import to_ascii
from optitrace.views.headed_table import headed_table

VERDICTS = {True: "yes", False: "NO", None: "not judged"}
"""What is said of a result, by whether it agrees."""


def notebook_table(
    results: Sequence[Result], *, width: int | None = None, ascii_only: bool = False
) -> RenderableType:
    """Return every result of the document beside ours, with what is to be learned from each cell."""
    table = headed_table(
        ("cell", "shows", "document", "here", "agrees"),
        [(str(r.cell), r.shows, r.document, r.ours, VERDICTS[r.agree]) for r in results],
        width=width,
        alarm=VERDICTS[False],
        ascii_only=ascii_only,
    )
    judged = [result.agree for result in results if result.agree is not None]
    summary = f"{sum(judged)} of {len(judged)} results agree with the document"
    spell = to_ascii if ascii_only else str
    remarks = [Text(spell(f"cell {cell.number}: {cell.remark}")) for cell in CELLS]
    return Group(table, Text(), *remarks, Text(), Text(summary, style="bold"))


def notebook_json(results: Sequence[Result]) -> str:
    """Return the results as a JSON array; ``agree`` is null for what belongs to one installation."""
    return json.dumps([asdict(result) for result in results], indent=2) + "\n"
