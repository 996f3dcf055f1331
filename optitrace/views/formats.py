"""The formats of results: what a presenter provides, and the writers that take it.

A writer is declared by a module of `optitrace.views.writers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from optitrace.errors import UsageError, one_of, quoted
from optitrace.views import writers
from optitrace.views.display import Display

if TYPE_CHECKING:
    from rich.console import RenderableType

    from optitrace.views.display import Display
    from optitrace.views.page import Section
    from optitrace.views.pictures.scene import Picture


Chunks: TypeAlias = Iterable[str | bytes]
"""A content, piece by piece: text, which is written in UTF-8, or bytes."""


class Presenter(ABC):
    """A result as it is shown: a table, and the parts of its other base classes.

    Attributes:
        called: the noun for such a result in messages.
    """

    called: ClassVar[str]

    @abstractmethod
    def table(self, display: Display) -> RenderableType:
        """Return what a person sees on a terminal."""


class HasJson(ABC):
    """A result that can be written as JSON."""

    @abstractmethod
    def json(self, display: Display) -> Iterator[str]:
        """Yield one JSON value, piece by piece."""


class HasJsonLines(ABC):
    """A result that can be written as lines of JSON."""

    @abstractmethod
    def json_lines(self, display: Display) -> Iterator[str]:
        """Yield a line that says what the rows are of, and one for each row."""


class HasRows(ABC):
    """A result that consists of rows of exact numbers."""

    @abstractmethod
    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the header, and the rows below it; a cell is None where there is no value."""


class HasPage(ABC):
    """A result that can be pasted into a text."""

    @abstractmethod
    def page(self, display: Display) -> Iterator[Section]:
        """Yield its sections."""


@dataclass(frozen=True, slots=True)
class ReportCase:
    """One thing that was tested, as the reports of test runners have it.

    Attributes:
        suite: what was tested.
        name: what of it.
        outcome: whether it holds; a test is skipped where nothing could be decided.
        message: the outcome in a sentence; empty if it passed.
        text: all that there is to say of a failure.
    """

    suite: str
    name: str
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    message: str = ""
    text: str = ""


class HasCases(ABC):
    """What is tests that passed or failed."""

    @abstractmethod
    def cases(self) -> Iterator[ReportCase]:
        """Yield each test."""


class HasPicture(ABC):
    """A result that can be drawn."""

    needs_torch: ClassVar[bool] = False
    """Whether torch is needed to draw it."""

    @abstractmethod
    def picture(self, display: Display) -> Picture:
        """Return what is drawn.

        Raises:
            OutputError: there is nothing to draw.
        """

    def not_drawn(self) -> str:
        """Return the sentence that says what is left out of the picture, and why; empty if nothing is."""
        return ""


class HasMovingPicture(HasPicture):
    """A result that can be drawn step by step."""


PARTS = (Presenter, HasJson, HasJsonLines, HasRows, HasPage, HasCases, HasPicture, HasMovingPicture)
"""What there is to be taken by a writer, in the order in which formats are listed."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A format.

    Attributes:
        name: its name in ``--format``.
        suffix: the suffix of its files, such as ``.csv``.
        takes: the part of a presenter that it is made from, one of `PARTS`.
        write: returns a presenter's content in this format.
        is_binary: whether a terminal cannot show it.
        needs: the optional module that it needs.
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
    """Check that the modules needed by some formats are installed.

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
