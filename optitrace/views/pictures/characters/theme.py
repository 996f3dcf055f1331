"""The look of what is drawn with characters: signs and colours, and what stands for a sign in ASCII.

Colours are those that a terminal has a theme for, so that they can be read on its background, light or
dark. The first ones differ for every colour vision; and lines differ in their signs as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optitrace.views.pictures.scene import Kind
from optitrace.views.sweep_picture import ASCII_MARKS, UNICODE_MARKS

LINE_COLORS = ("magenta", "cyan", "yellow", "blue", "red", "green")

SOFT = "dim"
STRONG = "bold"


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs that can be shown.

    Attributes:
        has_braille: whether lines are made of braille.
        lines: a sign for each line of a panel; in ASCII a line is made of it.
        step: a step of the only line.
        end: the end of the only path.
        level: what a level line is made of where there is no braille.
        kinds: the sign of each kind of mark.
        arrows: the signs of what leaves over the upper, the lower, the left and the right edge.
        upright: the axis upwards, and where it has a tick.
        flat: the axis across, where it has a tick, and where it begins.
    """

    has_braille: bool
    lines: str
    step: str
    end: str
    level: str
    kinds: Mapping[Kind, str]
    arrows: str
    upright: str
    flat: str

    def line(self, number: int) -> str:
        """Return the sign of line `number` of a panel, from 0."""
        return self.lines[number % len(self.lines)]


UNICODE_SIGNS = Signs(
    has_braille=True,
    lines="●■△◇□▽◉☆",
    step="•",
    end="●",
    level="·",
    kinds={
        Kind.START: "○",
        Kind.MINIMUM: "+",
        Kind.BEST: UNICODE_MARKS.best,
        Kind.LEAVES: "▲",
        Kind.NON_FINITE: UNICODE_MARKS.diverged,
        Kind.DIVERGED: UNICODE_MARKS.diverged,
    },
    arrows="▲▼◄►",
    upright="│┤",
    flat="─┬└",
)
ASCII_SIGNS = Signs(
    has_braille=False,
    lines="*#%&$=ab",
    step="o",
    end="E",
    level=".",
    kinds={
        Kind.START: "S",
        Kind.MINIMUM: "+",
        Kind.BEST: ASCII_MARKS.best,
        Kind.LEAVES: "^",
        Kind.NON_FINITE: ASCII_MARKS.diverged,
        Kind.DIVERGED: ASCII_MARKS.diverged,
    },
    arrows="^v<>",
    upright="|+",
    flat="-++",
)


def signs_of_terminal(*, ascii_only: bool) -> Signs:
    """Return the signs that can be shown."""
    return ASCII_SIGNS if ascii_only else UNICODE_SIGNS


def line_color(number: int) -> str:
    """Return the colour of line `number` of a panel, from 0."""
    return LINE_COLORS[number % len(LINE_COLORS)]
