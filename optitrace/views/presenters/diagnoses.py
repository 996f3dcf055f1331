"""The faults that are looked for in a training, as they are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from rich.console import RenderableType

from optitrace.views.display import Display
from optitrace.views.presenter import HasJson, Presenter
from optitrace.views.tables import headed_table


@dataclass(frozen=True, slots=True)
class DiagnosesPresenter(Presenter, HasJson):
    """What is looked for in a training.

    Attributes:
        summaries: what each fault is, in one sentence, by its name.
    """

    called: ClassVar[str] = "the list of diagnoses"

    summaries: Mapping[str, str]

    def table(self, display: Display) -> RenderableType:
        """Return a row for each fault, by its code."""
        rows = [(fault.replace(" ", "-"), summary) for fault, summary in self.summaries.items()]
        return headed_table(("code", "what is looked for"), rows, display)

    def json(self, display: Display) -> Iterator[str]:
        """Yield an array with an object for each fault."""
        faults = [
            {"fault": fault, "code": fault.replace(" ", "-"), "summary": summary}
            for fault, summary in self.summaries.items()
        ]
        yield json.dumps(faults, indent=2) + "\n"
