"""Standard output and standard error: width, colour, encoding, and closed pipes."""

from __future__ import annotations

import codecs
import errno
import io
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import replace
from typing import Literal, TextIO

from rich.console import Console, RenderableType

from optitrace.errors import OutputError, one_of, printable
from optitrace.text import spell_unencodable
from optitrace.views.display import WIDE_ENOUGH, Display

COLOR_SYSTEMS: Mapping[str, Literal["auto", "standard"] | None] = {
    "auto": "auto",
    "always": "standard",
    "never": None,
}
"""The colours that rich is to use, by when colour is used."""

COLORS = tuple(COLOR_SYSTEMS)
"""When colour is used; ``auto`` is on a terminal, unless NO_COLOR is set."""

SPELL_IN_ASCII = "optitrace.spell_in_ascii"
codecs.register_error(SPELL_IN_ASCII, spell_unencodable)


def check_color(color: str) -> str:
    """Return when to use colour.

    Raises:
        UsageError: it is not one of `COLORS`.
    """
    return one_of("color", color, COLORS)


def prepare_streams() -> None:
    """Make printing safe for every character: those that cannot be encoded are spelled in ASCII."""
    _set_errors(dict.fromkeys(("stdout", "stderr"), SPELL_IN_ASCII))


@contextmanager
def streams_of_a_program() -> Iterator[None]:
    """Restore the standard streams of Python while a program runs."""
    _set_errors({"stdout": "strict", "stderr": "backslashreplace"})
    try:
        yield
    finally:
        prepare_streams()


@contextmanager
def standard_error(stream: TextIO | None) -> Iterator[None]:
    """Have a stream as standard error for a while; if there is none, or it is closed, what is said is lost.

    A program that was run may have put another in its place, which is its own and no place for ours.
    """
    if stream is not None and not stream.closed:
        with redirect_stderr(stream):
            yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        yield


def width(stream: TextIO | None = None) -> int | None:
    """Return the width of a line: the terminal's, or COLUMNS; None if there is neither.

    Args:
        stream: where it is printed; standard output if not given.
    """
    if is_terminal(stream or sys.stdout) or os.environ.get("COLUMNS", "").isdigit():
        return shutil.get_terminal_size().columns
    return None


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal."""
    return stream is not None and stream.isatty()


def can_rewrite(stream: TextIO | None) -> bool:
    """Return whether a line shown on a stream can be erased; a dumb terminal cannot."""
    return is_terminal(stream) and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def ascii_only(stream: TextIO | None = None) -> bool:
    """Return whether a stream, standard output if not given, can show little more than ASCII."""
    return not (getattr(stream or sys.stdout, "encoding", None) or "ascii").lower().startswith("utf")


def fit(display: Display, stream: TextIO | None = None) -> Display:
    """Return a display fitted to a stream, standard output if not given."""
    return replace(display, width=width(stream), ascii=ascii_only(stream))


def print_rich(renderable: RenderableType, color: str, stream: TextIO | None = None) -> None:
    """Print something that rich can render, on standard output if no other stream is given.

    Raises:
        OutputError: the stream cannot be written to.
    """
    file = io.StringIO()
    console = Console(
        file=file,
        width=width(stream) or WIDE_ENOUGH,
        height=50,
        force_terminal=True if color == "always" or is_terminal(stream or sys.stdout) else None,
        no_color=False if color == "always" else None,
        color_system=COLOR_SYSTEMS[color],
        highlight=False,
    )
    console.print(renderable)
    print_content((f"{line.rstrip()}\n" for line in file.getvalue().splitlines()), stream)


def print_content(chunks: Iterable[str | bytes], stream: TextIO | None = None) -> None:
    """Print text or bytes, on standard output if no other stream is given.

    A closed pipe is not an error.

    Raises:
        OutputError: the stream cannot be written to.
    """
    stream = stream or _stdout()
    with _told(stream):
        for chunk in chunks:
            if isinstance(chunk, bytes):
                stream.flush()
                stream.buffer.write(chunk)
            else:
                stream.write(chunk)
        stream.flush()


@contextmanager
def _told(stream: TextIO) -> Iterator[None]:
    """Exit quietly if a pipe is closed, and report other errors of a stream."""
    try:
        yield
    except OSError as error:
        is_unread = isinstance(error, BrokenPipeError) or _has_hung_up(stream, error)
        _leave(stream)
        if is_unread:
            return
        name = "error" if stream is sys.stderr else "output"
        raise OutputError(
            f"cannot write to standard {name}: {error.strerror}; write to a file with --output."
        ) from error


def _has_hung_up(stream: TextIO, error: OSError) -> bool:
    """Return whether a stream is a terminal that was closed."""
    return error.errno == errno.EIO and stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)


def say(message: str) -> None:
    """Print a message in one line on standard error."""
    if sys.stderr is not None:
        try:
            print(f"optitrace: {printable(message)}", file=sys.stderr, flush=True)  # noqa: T201
        except OSError:
            _leave(sys.stderr)


def _set_errors(errors: Mapping[str, str]) -> None:
    for name, how in errors.items():
        stream = getattr(sys, name)
        if stream is not None and hasattr(stream, "reconfigure"):
            with suppress(ValueError, OSError):  # a program may have closed it
                stream.reconfigure(errors=how)


def _leave(stream: TextIO) -> None:
    """Discard unflushed output, so that the process can exit without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _stdout() -> TextIO:
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed; write to a file with --output.")
    return sys.stdout
