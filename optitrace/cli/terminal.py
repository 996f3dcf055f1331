"""Standard output and standard error: width, colour, encoding, and a reader that has gone."""

from __future__ import annotations

import codecs
import os
import shutil
import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, RenderableType

from optitrace.errors import OutputError, UsageError, did_you_mean
from optitrace.views.plain import WIDE_ENOUGH
from optitrace.views.spelling import SIGNS, to_ascii

COLORS = ("auto", "always", "never")
"""When colour is used; ``auto`` is on a terminal, unless NO_COLOR is set."""


def check_color(color: str) -> str:
    """Return when to use colour.

    Raises:
        UsageError: it is not one of `COLORS`.
    """
    if color not in COLORS:
        guess = did_you_mean(color, COLORS) or ";"
        raise UsageError(f"unknown color '{color}'{guess} there are {', '.join(COLORS)}.")
    return color


def prepare_streams() -> None:
    """See to it that no character can make printing fail."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=SPELL_IN_ASCII)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """Return the ASCII spelling of what could not be encoded, and where to go on."""
    assert isinstance(error, UnicodeEncodeError)
    return to_ascii(error.object[error.start : error.end]), error.end


SPELL_IN_ASCII = "optitrace.spell_in_ascii"
codecs.register_error(SPELL_IN_ASCII, _spelled)


def width() -> int | None:
    """Return how many characters a line may have: the terminal's, or COLUMNS; None if it is neither."""
    if _is_terminal(sys.stdout) or os.environ.get("COLUMNS", "").isdigit():
        return shutil.get_terminal_size().columns
    return None


def ascii_only() -> bool:
    """Tell whether standard output can show ASCII alone."""
    try:
        SIGNS.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return True
    return False


def print_rich(renderable: RenderableType, color: str) -> None:
    """Print something that rich can render.

    Raises:
        OutputError: standard output cannot be written to.
    """
    console = Console(
        file=_stdout(),
        width=width() or WIDE_ENOUGH,
        height=50,
        force_terminal=True if color == "always" else None,
        no_color=False if color == "always" else None,
        color_system=None if color == "never" else "auto",
        highlight=False,
    )
    with console.capture() as captured:
        console.print(renderable)
    lines = captured.get().splitlines()
    print_text(f"{line.rstrip()}\n" for line in lines)


def print_text(chunks: Iterable[str]) -> None:
    """Print text on standard output, and leave it quietly once nobody reads it.

    Raises:
        OutputError: standard output cannot be written to.
    """
    stream = _stdout()
    try:
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()
    except BrokenPipeError:
        leave_stdout()
    except OSError as error:
        leave_stdout()
        raise OutputError(f"cannot write to standard output: {error.strerror}.") from error


def leave_stdout() -> None:
    """Send what is still to be flushed nowhere, so that the end of the process cannot fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """Say something to the person, on standard error."""
    if sys.stderr is not None:
        stream_is_ascii = (sys.stderr.encoding or "ascii").lower() in ("ascii", "us-ascii", "ansi_x3.4-1968")
        text = to_ascii(message) if stream_is_ascii else message
        print(f"optitrace: {text}", file=sys.stderr)  # noqa: T201


def _stdout() -> TextIO:
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed.")
    return sys.stdout


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
