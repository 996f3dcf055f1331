"""The content of a saved file, before it is known to be a trace or a training."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable
from typing import TypeVar

from optitrace.errors import InputFileError, printable, quoted

Content = TypeVar("Content")

STDIN = "-"
"""The path that stands for standard input."""


class FaultError(InputFileError):
    """What is wrong with a content, without the name of its file."""


def read_file(path: str, parse: Callable[[bytes], Content]) -> Content:
    """Return what the content of a file stands for; that of standard input for ``-``.

    Raises:
        InputFileError: the file cannot be read, or `parse` refuses it; says which file, where and why.
    """
    name = "standard input" if path == STDIN else quoted(path)
    try:
        return parse(content_of(path))
    except FaultError as fault:
        raise InputFileError(f"cannot read {name}: {printable(str(fault))}.") from None


def content_of(path: str) -> bytes:
    """Return the content of a file; that of standard input for ``-``."""
    try:
        if path == STDIN:
            if sys.stdin is None:
                raise FaultError("it is closed")
            return sys.stdin.buffer.read()
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        raise FaultError("there is no such file") from None
    except IsADirectoryError:
        raise FaultError("it is a folder") from None
    except OSError as error:
        raise FaultError(error.strerror or str(error)) from None
    except ValueError:
        raise FaultError("no file can have this name") from None


def check_text(content: bytes) -> None:
    """Refuse, with a remedy, what is not JSON at the first look."""
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FaultError("it begins with a byte order mark; save it as UTF-8 without one")
    begin = content[:1000].lstrip()
    if not begin:
        raise FaultError("it is empty")
    if not begin.startswith((b"{", b"[")):
        raise FaultError(
            "line 1: it is not JSON; traces are read back from '-o FILE.json' or '-o FILE.jsonl'"
        )


def is_training(content: bytes) -> bool:
    """Return whether a file holds a training, which has a program instead of an experiment."""
    key = _KIND.search(content)
    return key is not None and key[1] == b"program"


_KIND = re.compile(rb'"(experiment|program)"\s*:')


def numbered_lines(content: bytes) -> list[tuple[int, bytes]]:
    """Return the lines of JSONL with their numbers, from 1; none of a content that is one JSON object."""
    first, _, rest = content.partition(b"\n")
    if not rest.strip() or not _is_whole_object(first):
        return []
    return [(k, line) for k, line in enumerate(content.split(b"\n"), start=1) if line.strip()]


def _is_whole_object(line: bytes) -> bool:
    """Return whether a line is a JSON object by itself, as the first of a JSONL file is."""
    if not line.rstrip().endswith(b"}"):
        return False
    from pydantic_core import from_json

    try:
        return isinstance(from_json(line), dict)
    except ValueError:
        return False
