"""The display settings of a result."""

from __future__ import annotations

from dataclasses import dataclass, replace

from optitrace.text import to_ascii

WIDE_ENOUGH = 1_000_000_000
"""A width at which no line is folded and no table cropped, however many columns it has."""


@dataclass(frozen=True, slots=True)
class Display:
    """The requested parts of a result, and their format.

    Attributes:
        width: how many characters a line may have; as many as needed if None.
        ascii: whether everything is spelled in ASCII.
        color: when colour is used: ``auto``, which is on a terminal, ``always`` or ``never``.
        precision: decimals of each number; in a training and in a difference, its significant digits.
        state: whether the optimizer's state is shown.
        update: whether the change of the weights since the row before is shown.
        all_rows: whether every row is shown, and every optimizer of a training, however many there are.
        by_parameter: whether a training is shown with a row for each parameter.
        groups: whether the parameter groups of a training are shown.
        plot: whether the picture is drawn in characters below the table.
    """

    width: int | None = None
    ascii: bool = False
    color: str = "auto"
    precision: int = 4
    state: bool = False
    update: bool = False
    all_rows: bool = False
    by_parameter: bool = False
    groups: bool = False
    plot: bool = False

    @property
    def digits(self) -> int:
        """How many significant digits a number has, where numbers of all sizes stand beside each other."""
        return max(1, self.precision)

    def spell(self, text: str) -> str:
        """Return a text as it can be shown."""
        return to_ascii(text) if self.ascii else text

    def for_files(self) -> Display:
        """Return the same for a file, which has room for lines of any length and for every sign."""
        return replace(self, width=None, ascii=False)
