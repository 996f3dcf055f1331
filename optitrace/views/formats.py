"""The formats in which a trace can be written, by name and by the suffix of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING

from optitrace.analysis.findings import NO_FINDINGS, Findings
from optitrace.errors import UsageError, one_of, quoted
from optitrace.records.trace import Trace
from optitrace.records.writer import json_chunks, jsonl_chunks
from optitrace.views.delimited import delimited, record_rows
from optitrace.views.explanation import explained_fields
from optitrace.views.grid import Look
from optitrace.views.markdown import markdown_chunks
from optitrace.views.theory import theory_fields

if TYPE_CHECKING:
    from rich.text import Text

STILLS = ("png", "svg", "pdf")
"""The formats of pictures that stand still."""

PICTURES = (*STILLS, "gif", "html")
"""The formats of pictures; the last two are drawn step by step."""

FORMATS = ("table", "json", "jsonl", "csv", "tsv", "markdown", *PICTURES)
"""The names of the formats."""

WITH_FINDINGS = ("table", "json", "jsonl")
"""The formats that have a place for an explanation and for theory."""

SUFFIXES = {
    ".txt": "table",
    ".json": "json",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".md": "markdown",
    **{f".{name}": name for name in PICTURES},
}
"""The format of a file, by its suffix."""


def format_of(path: str) -> str:
    """Return the format of a file by its suffix.

    Raises:
        UsageError: no format has this suffix.
    """
    suffix = PurePath(path).suffix.lower()
    if suffix not in SUFFIXES:
        said = f"{quoted(suffix)} is not the suffix of a format" if suffix else "it has no suffix"
        raise UsageError(
            f"cannot tell the format of {quoted(path)}: {said}; use one of {', '.join(SUFFIXES)}."
        )
    return SUFFIXES[suffix]


def check_format(name: str) -> str:
    """Return the name of a format.

    Raises:
        UsageError: there is no such format.
    """
    return one_of("format", name, FORMATS)


def chunks(
    trace: Trace,
    name: str,
    look: Look,
    notes: Sequence[str] = (),
    findings: Findings = NO_FINDINGS,
    plot: Text | None = None,
) -> Iterator[str]:
    """Yield a trace as text in a format that is no picture, piece by piece, at the width that it needs.

    Findings are a part of a table, of JSON and of JSONL, a plot is one of a table; the other formats have no
    place for them.
    """
    if name == "table":
        return _plain_table(trace, look, notes, findings, plot)
    if name == "markdown":
        return markdown_chunks(trace, look)
    if name in ("csv", "tsv"):
        return delimited(record_rows(trace), "," if name == "csv" else "\t")
    write = {"json": json_chunks, "jsonl": jsonl_chunks}[name]
    return write(trace, theory_fields(findings.theory), partial(explained_fields, findings.explained))


def _plain_table(
    trace: Trace, look: Look, notes: Sequence[str], findings: Findings, plot: Text | None
) -> Iterator[str]:
    from optitrace.views.plain import plain_text
    from optitrace.views.table import render

    yield plain_text(render(trace, look, notes=notes, findings=findings, plot=plot))
