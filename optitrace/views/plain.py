"""Anything that rich can render, as plain text."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

WIDE_ENOUGH = 1_000_000_000
"""A width at which no line is folded and no table cropped, however many columns it has."""


def plain_text(renderable: RenderableType) -> str:
    """Return what a console without colours prints, with no line folded and no blanks at line ends."""
    file = io.StringIO()
    console = Console(
        file=file, width=WIDE_ENOUGH, height=50, color_system=None, _environ={}, highlight=False
    )
    console.print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())
