"""The errors that users can cause: a fact, a remedy and an exit code each."""

from __future__ import annotations

import re
from difflib import get_close_matches
from math import inf
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class OptitraceError(Exception):
    """An error that is reported as a message, never as a traceback.

    Attributes:
        exit_code: the exit code of the command line.
    """

    exit_code: ClassVar[int] = 1


class UsageError(OptitraceError):
    """A name, a value or a combination that cannot be run."""

    exit_code = 2


class InputFileError(OptitraceError):
    """A file that cannot be read, or has the wrong content."""

    exit_code = 3


class OutputError(OptitraceError):
    """An output that cannot be written."""

    exit_code = 4


class DeviceError(OptitraceError):
    """A device that does not exist, or that ran out of memory."""

    exit_code = 5


_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|bad_alloc|ALLOC_FAILED|failed to map segment"
)
"""The messages of torch, and of the system while torch is loaded, when memory runs out."""


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or the one that it was raised from, is an out-of-memory error.

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
"""The number of characters of user input that a message repeats."""


def quoted(text: str) -> str:
    r"""Return user input in quotes, on one line, a long one shortened in the middle.

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
    r"""Return a text with unprintable characters, such as line breaks, escaped.

    >>> printable("two\nlines")
    'two\\nlines'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_of(what: str, value: str, known: Collection[str]) -> str:
    """Return one of some known words.

    >>> one_of("format", "csv", ["json", "csv"])
    'csv'

    Raises:
        UsageError: it is not one of them.
    """
    if value not in known:
        guess = did_you_mean(str(value), known) or ";"
        raise UsageError(f"unknown {what} {quoted(str(value))}{guess} choose from: {', '.join(known)}.")
    return value


LARGEST_SEED = 2**63 - 1
"""The largest seed that the generators of torch take."""


def integer(name: str, value: object, *, least: int = 0, most: int | None = None) -> int:
    """Return an integer in its range.

    >>> integer("steps", 3)
    3

    Raises:
        UsageError: it is none, or out of its range.
    """
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= (most or inf):
        return value
    positive = {0: "a non-negative integer", 1: "a positive integer"}
    highest = "2^63 − 1" if most == LARGEST_SEED else most
    allowed = positive[least] if most is None else f"an integer from {least} to {highest}"
    raise UsageError(f"{name} is {_shown(value)}; it must be {allowed}.")


def amount(name: str, value: object) -> float:
    """Return a number that is not negative.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf:
        return float(value)
    raise UsageError(f"{name} is {_shown(value)}; it must be a non-negative number.")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'adam'?"`` for the known name closest to `name`, or an empty text.

    >>> did_you_mean("adan", ["sgd", "adam"])
    "; did you mean 'adam'?"
    >>> did_you_mean("zzz", ["sgd", "adam"])
    ''
    """
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else repr(value)
