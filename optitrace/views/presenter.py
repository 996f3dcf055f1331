"""What a result can be shown as: the parts that writers take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from rich.console import RenderableType

    from optitrace.views.display import Display
    from optitrace.views.page import Section
    from optitrace.views.pictures.scene import Picture


class Presenter(ABC):
    """A result as it is shown. Each has a table; what else it has, its other base classes say.

    Attributes:
        called: what a sentence calls such a result.
    """

    called: ClassVar[str]

    @abstractmethod
    def table(self, display: Display) -> RenderableType:
        """Return what a person sees on a terminal."""


class HasJson(ABC):
    """What can be written as JSON."""

    @abstractmethod
    def json(self, display: Display) -> Iterator[str]:
        """Yield one JSON value, piece by piece."""


class HasJsonLines(ABC):
    """What can be written as lines of JSON."""

    @abstractmethod
    def json_lines(self, display: Display) -> Iterator[str]:
        """Yield a line that says what the rows are of, and one for each row."""


class HasRows(ABC):
    """What is rows of exact numbers."""

    @abstractmethod
    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the header, and the rows below it; a cell is None where there is no value."""


class HasPage(ABC):
    """What can be pasted into a text."""

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
    """What can be drawn."""

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
    """What can be drawn step by step."""


PARTS = (Presenter, HasJson, HasJsonLines, HasRows, HasPage, HasCases, HasPicture, HasMovingPicture)
"""What there is to be taken by a writer, in the order in which formats are listed."""
