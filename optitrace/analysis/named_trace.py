"""A trace and what a person calls it."""

from __future__ import annotations

from dataclasses import dataclass

from optitrace.records.trace import Trace


@dataclass(frozen=True, slots=True)
class NamedTrace:
    """A trace with a name: the text of its experiment, or the file that it was read from."""

    name: str
    trace: Trace
