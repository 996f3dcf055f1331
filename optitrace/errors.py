"""The errors that a person can cause: one sentence of fact, one of remedy, one exit code each."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class OptitraceError(Exception):
    """A mistake that is told in a sentence and never as a traceback.

    Attributes:
        exit_code: what the command line exits with.
    """

    exit_code: ClassVar[int] = 1


class UsageError(OptitraceError):
    """A name, a value or a combination that cannot be run."""

    exit_code = 2


class InputFileError(OptitraceError):
    """A file that cannot be read as what it should be."""

    exit_code = 3


class OutputError(OptitraceError):
    """A place that cannot be written to."""

    exit_code = 4


class DeviceError(OptitraceError):
    """A device that is not there, or that ran out of memory."""

    exit_code = 5


_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|bad_alloc|ALLOC_FAILED|failed to map segment"
)
"""What an error of torch says, or of the system while torch is loaded, if there is no memory left."""


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or the one that it was raised from, says that memory ran out.

    torch raises a RuntimeError on the CPU, and has a class of its own, derived from that, on CUDA alone.

    >>> ran_out_of_memory(MemoryError()), ran_out_of_memory(RuntimeError("shapes do not match"))
    (True, False)
    """
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not loaded here
        return True
    if isinstance(error, RuntimeError | ImportError):
        return _OUT_OF_MEMORY.search(str(error)) is not None
    return error is not None and (isinstance(error, MemoryError) or ran_out_of_memory(error.__cause__))


LONGEST_QUOTED = 200
"""How many characters of what a person typed a sentence repeats."""


def quoted(text: str) -> str:
    r"""Return what a person typed in quotes: on one line, and a long text with its middle left out.

    >>> quoted("adan"), quoted("two\nlines")
    ("'adan'", "'two\\nlines'")
    >>> len(quoted("9" * 5000))
    201
    """
    shown = printable(text)
    if len(shown) > LONGEST_QUOTED:
        half = LONGEST_QUOTED // 2 - 2
        shown = f"{shown[:half]}...{shown[-half:]}"
    return f"'{shown}'"


def printable(text: str) -> str:
    r"""Return a text with whatever has no shape of its own, as a line break, spelled out.

    >>> printable("two\nlines")
    'two\\nlines'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_of(what: str, value: str, known: Collection[str]) -> str:
    """Return one of some known words.

    >>> one_of("format", "csv", ["json", "csv"])
    'csv'

    Raises:
        UsageError: it is none of them.
    """
    if value not in known:
        guess = did_you_mean(value, known) or ";"
        raise UsageError(f"unknown {what} {quoted(value)}{guess} choose from: {', '.join(known)}.")
    return value


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'adam'?"`` for the known name closest to `name`, or an empty text.

    >>> did_you_mean("adan", ["sgd", "adam"])
    "; did you mean 'adam'?"
    >>> did_you_mean("zzz", ["sgd", "adam"])
    ''
    """
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
