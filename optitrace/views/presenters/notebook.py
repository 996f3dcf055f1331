"""The document's results beside ours as they are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.analysis.documented import CELLS
from optitrace.views.display import Display
from optitrace.views.formats import HasJson, HasRows, Presenter
from optitrace.views.tables import as_text, headed_table

if TYPE_CHECKING:
    from optitrace.analysis.documented import Result

VERDICTS = {True: "yes", False: "NO", None: "not judged"}
"""The verdict on a result, by whether it agrees."""


@dataclass(frozen=True, slots=True)
class NotebookPresenter(Presenter, HasJson, HasRows):
    """Every result of the document beside ours."""

    called: ClassVar[str] = "the notebook"

    results: Sequence[Result]

    def table(self, display: Display) -> RenderableType:
        """Return a row for each result, with what is to be learned from each cell below."""
        table = headed_table(
            ("cell", "shows", "document", "here", "agrees"),
            [(str(r.cell), r.shows, r.document, r.ours, VERDICTS[r.agree]) for r in self.results],
            display,
            alarm=VERDICTS[False],
        )
        judged = [result.agree for result in self.results if result.agree is not None]
        summary = f"{sum(judged)} of {len(judged)} results agree with the document"
        remarks = as_text([f"cell {cell.number}: {cell.remark}" for cell in CELLS], display)
        return Group(table, Text(), *remarks, Text(), Text(summary, style="bold"))

    def json(self, display: Display) -> Iterator[str]:
        """Yield an array of the results; ``agree`` is null for what belongs to one installation."""
        yield json.dumps([asdict(result) for result in self.results], indent=2) + "\n"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield a row for each result."""
        yield list(asdict(self.results[0]))
        yield from map(astuple, self.results)
