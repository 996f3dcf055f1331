"""Several numbers in a line of text."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 4
"""How many numbers of a vector are shown; an ellipsis stands for the others."""


def as_vector(texts: Sequence[str]) -> str:
    """Return numbers in parentheses; a single one as it is.

    >>> as_vector(["1", "2"]), as_vector(["1"])
    ('(1, 2)', '1')
    """
    if len(texts) == 1:
        return texts[0]
    shown = [*texts[:MOST], "…"] if len(texts) > MOST else texts
    return f"({', '.join(shown)})"
