"""Results that print as the table of the command line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from optitrace.views.display import Display
from optitrace.views.formats import HasPage, Presenter, find_writer

if TYPE_CHECKING:
    from rich.console import RenderableType


class Shown(ABC):
    """A result whose text is its table, without colour and of any width."""

    _display = Display()

    @property
    @abstractmethod
    def _presenter(self) -> Presenter:
        """The result as it is shown."""

    def __rich__(self) -> RenderableType:
        return self._presenter.table(self._display)

    def __str__(self) -> str:
        return self._written("table").removesuffix("\n")

    def _written(self, format: str) -> str:
        """Return the text of a format."""
        presenter = self._presenter
        return "".join(map(str, find_writer(format, type(presenter)).write(presenter, self._display)))


class ShownInNotebook(Shown):
    """A result that a notebook shows as HTML."""

    def _repr_html_(self) -> str:
        from optitrace.views.page import html_page

        presenter = self._presenter
        assert isinstance(presenter, HasPage)
        return html_page(presenter.page(self._display))
