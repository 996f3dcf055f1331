"""The canvas of characters: dots in braille or whole characters, signs over them, and their look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.text import Text

from optitrace.views.display import Display
from optitrace.views.pictures.scene import Kind, Position

Cell = tuple[int, int]
"""A character of a canvas: its column from the left and its row from the top."""

BRAILLE = 0x2800
"""The code of the braille character without dots."""

BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bit of each dot of a braille character, by its column and by its row from the top."""

LINE_COLORS = ("magenta", "cyan", "yellow", "blue", "red", "green")

SOFT = "dim"

STRONG = "bold"


@dataclass(frozen=True, slots=True)
class Ink:
    """What dots are made with.

    Attributes:
        style: a style of rich.
        character: what stands for them where there is no braille.
    """

    style: str
    character: str


class Canvas:
    """An area of characters to draw on. Positions are shares of it: across and up, from 0 to 1."""

    def __init__(self, columns: int, rows: int, *, has_braille: bool = True) -> None:
        self.columns, self.rows = columns, rows
        self._has_braille = has_braille
        self._dots: dict[Cell, tuple[Ink, int]] = {}
        self._signs: dict[Cell, tuple[str, str]] = {}
        self._shades: dict[Cell, str] = {}

    @property
    def dots_across(self) -> int:
        """How many dots it has from left to right."""
        return self.columns * (2 if self._has_braille else 1)

    @property
    def dots_up(self) -> int:
        """How many dots it has upwards."""
        return self.rows * (4 if self._has_braille else 1)

    def cell(self, at: Position) -> Cell:
        """Return the character that holds a position."""
        x, y = self._dot_at(at)
        return x * self.columns // self.dots_across, y * self.rows // self.dots_up

    def dot(self, x: int, y: int, ink: Ink) -> None:
        """Make a dot, counted from the upper left; a character has dots of the last ink alone."""
        cell = (x * self.columns // self.dots_across, y * self.rows // self.dots_up)
        before, bits = self._dots.get(cell, (ink, 0))
        self._dots[cell] = ink, (bits if before == ink else 0) | BITS[x % 2][y % 4]

    def line(self, a: Position, b: Position, ink: Ink) -> None:
        """Make a straight line of dots."""
        (x, y), (x2, y2) = self._dot_at(a), self._dot_at(b)
        count = max(abs(x2 - x), abs(y2 - y), 1)
        for k in range(count + 1):
            self.dot(round(x + (x2 - x) * k / count), round(y + (y2 - y) * k / count), ink)

    def shade(self, cell: Cell, shade: str) -> None:
        """Fill a character, behind all that is drawn there."""
        self._shades[cell] = shade

    def sign(self, at: Position, text: str, style: str) -> None:
        """Set a sign over whatever is there."""
        self._signs[self.cell(at)] = text, style

    def write(self, cell: Cell, text: str, style: str) -> None:
        """Write a text from a character on to the right, as far as there is room and no sign."""
        column, row = cell
        for k, letter in enumerate(text):
            if 0 <= column + k < self.columns:
                self._signs.setdefault((column + k, row), (letter, style))

    def lines(self) -> list[Text]:
        """Return what was drawn, line by line."""
        drawn = []
        for row in range(self.rows):
            line = Text()
            for column in range(self.columns):
                line.append(*self._shown((column, row)))
            drawn.append(line)
        return drawn

    def _shown(self, cell: Cell) -> tuple[str, str]:
        if cell in self._signs:
            return self._signs[cell]
        if cell not in self._dots:
            return self._shades.get(cell, " "), ""
        ink, bits = self._dots[cell]
        return chr(BRAILLE | bits) if self._has_braille else ink.character, ink.style

    def _dot_at(self, at: Position) -> tuple[int, int]:
        across, up = (min(max(share, 0.0), 1.0) for share in at)
        return round(across * (self.dots_across - 1)), round((1 - up) * (self.dots_up - 1))


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs that can be shown.

    Attributes:
        has_braille: whether lines are made of braille.
        lines: a sign for each line of a panel; in ASCII a line is made of it.
        step: a step of the only line.
        end: the end of the only path.
        level: what a contour line is made of where there is no braille.
        shades: of a heat map, from the highest number to the lowest.
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
    shades: str
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
    shades="·░▒▓█",
    kinds={
        Kind.START: "○",
        Kind.MINIMUM: "+",
        Kind.BEST: "◆",
        Kind.LEAVES: "▲",
        Kind.NON_FINITE: "×",
        Kind.DIVERGED: "×",
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
    shades=".:+*#",
    kinds={
        Kind.START: "S",
        Kind.MINIMUM: "+",
        Kind.BEST: "@",
        Kind.LEAVES: "^",
        Kind.NON_FINITE: "x",
        Kind.DIVERGED: "x",
    },
    arrows="^v<>",
    upright="|+",
    flat="-++",
)


def signs_of_terminal(display: Display) -> Signs:
    """Return the signs that can be shown."""
    return ASCII_SIGNS if display.ascii else UNICODE_SIGNS


def line_color(number: int) -> str:
    """Return the colour of line `number` of a panel, from 0."""
    return LINE_COLORS[number % len(LINE_COLORS)]
