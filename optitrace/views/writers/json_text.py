"""JSON, and lines of JSON: everything that was recorded and found, with exact numbers."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.views.display import Display
from optitrace.views.formats import Writer
from optitrace.views.presenter import HasJson, HasJsonLines


def write_json(result: HasJson, display: Display) -> Iterator[str]:
    """Return a result as JSON."""
    return result.json(display)


def write_json_lines(result: HasJsonLines, display: Display) -> Iterator[str]:
    """Return a result as lines of JSON."""
    return result.json_lines(display)


WRITERS = (
    Writer("json", ".json", HasJson, write_json),
    Writer("jsonl", ".jsonl", HasJsonLines, write_json_lines),
)
