"""The table that a terminal shows, as plain text."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.views.display import Display
from optitrace.views.formats import Writer
from optitrace.views.presenter import Presenter


def write_table(result: Presenter, display: Display) -> Iterator[str]:
    """Yield the table of a result."""
    from optitrace.views.tables import plain_text

    yield plain_text(result.table(display))


WRITERS = (Writer("table", ".txt", Presenter, write_table),)
