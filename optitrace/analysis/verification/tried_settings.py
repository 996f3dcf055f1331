"""The settings that a class was tried with, and which of them one that ended the process has to itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Settings: TypeAlias = Mapping[str, str]
"""What an optimizer was made with, as text: its arguments by name, and dtype and shapes of its weights."""

ENDS = "no call ends the process"
"""The claim that a class fails if its constructor or its step ends the process."""


class TriedSettings:
    """The settings that were tried one after the other, the last of which may still be on trial."""

    def __init__(self) -> None:
        self._survived: list[Settings] = []
        self.current: Settings = {}

    def begin(self, settings: Settings) -> None:
        """Record that settings are tried; those before them were survived."""
        if self.current and self.current not in self._survived:
            self._survived.append(self.current)
        self.current = settings

    def abandon(self) -> Settings | None:
        """Return what the current settings have that the most similar survived ones have not; drop them.

        None if nothing was survived; empty if the very same settings were.
        """
        ended, self.current = self.current, {}
        differing = [
            {name: value for name, value in ended.items() if survived.get(name) != value}
            for survived in self._survived
        ]
        return min(differing, key=len, default=None)


def has_all(settings: Settings, of: Settings) -> bool:
    """Return whether settings contain all of `of`, at least one."""
    return bool(of) and of.items() <= settings.items()


def sentence(settings: Settings, how: str) -> str:
    """Return how a class ends the process, and with which settings, as a clause."""
    said = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f"with {said} {how}" if said else how


def first_avoided(settings: Settings, avoided: Sequence[tuple[Settings, str]]) -> str:
    """Return how the process ended under settings that these contain; empty if they contain none."""
    return next((how for culprit, how in avoided if has_all(settings, culprit)), "")
