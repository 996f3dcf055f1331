"""Numbers, counts and lists of names as text, and the ASCII spelling of mathematical signs."""

from __future__ import annotations

import math
from collections.abc import Sequence

LARGEST_FIXED = 1e7
"""A number of this size or more is written in scientific form."""


_ASCII = str.maketrans(
    {
        "²": "^2",
        "·": "*",
        "−": "-",
        "–": "-",
        "Σ": "sum ",
        "ᵢ": "_i",
        "…": "...",
        "⋮": ":",
        "√": "sqrt",
        "→": "->",
        "≤": "<=",
        "≥": ">=",
        "×": "x",
        "✓": "yes",
        "✗": "NO",
        "∂": "d",
        "’": "'",
        "─": "-",
        "\u00a0": " ",
        "α": "alpha",
        "β": "beta",
        "ε": "eps",
        "η": "eta",
        "μ": "mu",
        "ρ": "rho",
        "ᵗ": "^t",
        "ᵀ": "^T",
        **dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)),
    }
)


def format_number(value: float, precision: int) -> str:
    """Return a number with `precision` decimals.

    A number that fixed decimals would show as zero, or one of `LARGEST_FIXED` or more, is written in
    scientific form; one that is not finite as ``inf``, ``-inf`` or ``nan``.

    >>> format_number(0.9799999, 4), format_number(-0.5, 2)
    ('0.9800', '-0.50')
    >>> format_number(3.1e-7, 4), format_number(-12345678.0, 4)
    ('3.1000e-07', '-1.2346e+07')
    >>> format_number(0.0, 4), format_number(-0.0, 4)
    ('0.0000', '0.0000')
    >>> format_number(float("-inf"), 4), format_number(float("nan"), 4)
    ('-inf', 'nan')
    """
    if value == 0:
        return f"{0.0:.{precision}f}"
    if not math.isfinite(value):
        return str(float(value))
    if abs(value) < LARGEST_FIXED:
        fixed = f"{value:.{precision}f}"
        if float(fixed) != 0:
            return fixed
    return f"{value:.{precision}e}"


def format_significant(value: float, digits: int) -> str:
    """Return a number with `digits` significant digits, for numbers of all sizes beside each other.

    One below 1e-4, or of `LARGEST_FIXED` or more, is written in scientific form; of a smaller one all
    digits before the point are written.

    >>> format_significant(2.30258, 4), format_significant(0.012345, 3), format_significant(123456.7, 4)
    ('2.303', '0.0123', '123457')
    >>> format_significant(1.2345e-5, 2), format_significant(0.0, 4), format_significant(float("inf"), 4)
    ('1.2e-05', '0', 'inf')
    """
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return str(float(value))
    scientific = f"{value:.{digits - 1}e}"
    exponent = int(scientific.partition("e")[2])
    if exponent < -4 or abs(float(scientific)) >= LARGEST_FIXED:
        return scientific
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def tallied(count: int, noun: str) -> str:
    """Return how many there are of something that there can be very many of.

    >>> tallied(1, "step"), tallied(1200, "step")
    ('1 step', '1,200 steps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def counted(count: int, noun: str) -> str:
    """Return how many there are of something.

    >>> counted(1, "step"), counted(1200, "step")
    ('1 step', '1200 steps')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def first_of(names: Sequence[str], most: int) -> str:
    """Return the first of some names, at most so many, and how many more there are.

    >>> first_of(["a", "b", "c", "d"], 2), first_of(["a", "b"], 2)
    ('a, b and 2 more', 'a, b')
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them.

    >>> listed(["a", "b", "c"]), listed(["a", "b"]), listed(["a"])
    ('a, b and c', 'a and b', 'a')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def format_operand(value: float, precision: int, extra: int) -> str:
    """Return a number with `extra` more digits than `format_number` gives, and in the same form.

    Zeros at the end of the extra digits are left out.

    >>> format_operand(0.98765432, 4, 0), format_operand(0.98765432, 4, 2)
    ('0.9877', '0.987654')
    >>> format_operand(3.14159e-7, 2, 2), format_operand(0.5, 4, 3)
    ('3.1416e-07', '0.5000')
    """
    text = format_number(value, precision)
    if extra == 0 or value == 0 or not math.isfinite(value):
        return text
    mantissa, form, exponent = f"{value:.{precision + extra}{'e' if 'e' in text else 'f'}}".partition("e")
    zeros = len(mantissa) - len(mantissa.rstrip("0"))
    return mantissa[: len(mantissa) - min(zeros, extra)] + form + exponent


def to_ascii(text: str) -> str:
    """Return a text spelled in ASCII.

    >>> to_ascii("w1² − 2·w2²")
    'w1^2 - 2*w2^2'
    """
    return text.translate(_ASCII).encode("ascii", errors="replace").decode("ascii")


def spell_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Spell in ASCII what an encoding does not have: an error handler as `codecs.register_error` takes it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return to_ascii(error.object[error.start : error.end]), error.end
