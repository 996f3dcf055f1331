"""What prints as the table that the command line shows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


class Shown(ABC):
    """A result whose text is what rich makes of it, in plain characters and at the width that it needs."""

    @abstractmethod
    def __rich__(self) -> RenderableType:
        """Return what rich is to render."""

    def __str__(self) -> str:
        from optitrace.views.plain import plain_text

        return plain_text(self.__rich__()).removesuffix("\n")
