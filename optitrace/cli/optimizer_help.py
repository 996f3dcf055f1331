"""What the help of an optimizer says of it: its rule, its source, and where torch departs from it."""

from __future__ import annotations

from rich.markup import escape

from optitrace.rules.optimizer import Optimizer
from optitrace.rules.reader import Spelling, read

NO_BREAK_SPACE = "\u00a0"
"""Indents a line of help, where Typer would strip blanks."""


def help_text(optimizer: Optimizer, spelling: Spelling) -> str:
    """Return the help of an optimizer in rich's markup, its rule in a spelling."""
    paragraphs = [f"{escape(optimizer.summary)}."] if optimizer.summary else []
    if optimizer.rule is not None:
        lines = (_indented(escape(line)) for line in read(optimizer.rule).formulas(spelling))
        paragraphs.append("\n".join(["[bold]Each step[/]", *lines]))
    if optimizer.source:
        paragraphs.append(f"[bold]Source[/] {escape(optimizer.source)}.")
    if optimizer.rule is not None and optimizer.rule.departures:
        departures = (_indented(escape(departure)) for departure in optimizer.rule.departures)
        paragraphs.append("\n".join(["[bold]Where torch departs from it[/]", *departures]))
    return "\n\n".join(paragraphs)


def _indented(line: str) -> str:
    text = line.lstrip()
    return NO_BREAK_SPACE * (2 + len(line) - len(text)) + text
