"""The formats in which results are written: each is declared by a module of `optitrace.views.writers`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath
from pkgutil import iter_modules
from typing import Any, TypeAlias

from optitrace.errors import UsageError, one_of, quoted
from optitrace.views import writers
from optitrace.views.display import Display
from optitrace.views.presenter import PARTS, HasPicture, Presenter

Chunks: TypeAlias = Iterable[str | bytes]
"""A content, piece by piece: text, which is written in UTF-8, or bytes."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A format.

    Attributes:
        name: what ``--format`` calls it.
        suffix: the suffix of its files, such as ``.csv``.
        takes: the part of a presenter that it is made from, one of `PARTS`.
        write: returns a presenter's content in this format.
        is_binary: whether it is nothing that a terminal could show.
        needs: the module that writes it, if that is an extra.
    """

    name: str
    suffix: str
    takes: type
    write: Callable[[Any, Display], Chunks]
    is_binary: bool = False
    needs: str = ""


@cache
def all_writers() -> tuple[Writer, ...]:
    """Return every format, in the order in which they are listed."""
    modules = sorted(f"{writers.__name__}.{found.name}" for found in iter_modules(writers.__path__))
    declared = [writer for module in modules for writer in import_module(module).WRITERS]
    return tuple(sorted(declared, key=lambda writer: PARTS.index(writer.takes)))


def writers_of(result: type[Presenter]) -> dict[str, Writer]:
    """Return the formats that a kind of result has, by their names."""
    return {writer.name: writer for writer in all_writers() if issubclass(result, writer.takes)}


def find_writer(name: str, result: type[Presenter]) -> Writer:
    """Return the format of a name.

    Raises:
        UsageError: there is no such format, or the result does not have it.
    """
    known = writers_of(result)
    if name not in known and any(writer.name == name for writer in all_writers()):
        raise UsageError(f"{result.called} has no format {quoted(name)}; choose from: {', '.join(known)}.")
    return known[one_of("format", name, known)]


def writer_of_file(path: str, result: type[Presenter], otherwise: Writer | None = None) -> Writer:
    """Return the format of a file, by its suffix.

    Args:
        path: the file.
        result: the kind of result.
        otherwise: the format of a file whose suffix names none; an error if not given.

    Raises:
        UsageError: no format has this suffix, or the result does not have the format.
    """
    suffix = PurePath(path).suffix.lower()
    for writer in all_writers():
        if writer.suffix == suffix:
            return find_writer(writer.name, result)
    if otherwise is not None:
        return otherwise
    said = f"{quoted(suffix)} is not a known suffix" if suffix else "it has no suffix"
    known = ", ".join(writer.suffix for writer in writers_of(result).values())
    raise UsageError(f"cannot determine the format of {quoted(path)}: {said}; use one of {known}.")


def check_drawable(asked: Collection[Writer]) -> None:
    """See that what draws the pictures among some formats is installed.

    Raises:
        UsageError: it is not.
    """
    for writer in asked:
        if writer.needs and find_spec(writer.needs) is None:
            raise UsageError(
                f"{writer.name} is drawn by {writer.needs}, which is not installed; "
                "pip install 'optitrace[plot]' installs it."
            )


def is_picture(writer: Writer) -> bool:
    """Return whether a format is a picture."""
    return issubclass(writer.takes, HasPicture)
