"""The signs that formulas are written in: those of mathematics, or plain ASCII, which is Python."""

from __future__ import annotations

import ast
from dataclasses import dataclass

GREEK = {"alpha": "α", "beta": "β", "eps": "ε", "eta": "η", "mu": "μ", "rho": "ρ"}
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPTS = str.maketrans("-0123456789t", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹ᵗ")


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """A set of signs.

    Attributes:
        times: between two factors.
        minus: the sign of a negative number, and between two terms.
        power: before an exponent that is not raised.
        raised: whether a whole number and the step number are written as raised exponents.
        greek: whether the symbols of a rule that have a Greek letter are written with it.
        around: what stands before and after the argument of a function that has a sign.
        comparisons: how two values are compared.
        ellipsis: what stands for coordinates that are left out.
    """

    times: str
    minus: str
    power: str
    raised: bool
    greek: bool
    around: dict[str, tuple[str, str]]
    comparisons: dict[type[ast.cmpop], str]
    ellipsis: str

    def symbol(self, name: str) -> str:
        """Return a symbol of a rule as it is written.

        >>> UNICODE.symbol("beta1"), UNICODE.symbol("rho_inf"), ASCII.symbol("beta1")
        ('β₁', 'ρ_inf', 'beta1')
        """
        if not self.greek:
            return name
        head, mark, tail = name.partition("_")
        letters = head.rstrip("0123456789")
        if letters not in GREEK:
            return name
        return GREEK[letters] + head[len(letters) :].translate(SUBSCRIPTS) + mark + tail

    def number(self, text: str) -> str:
        """Return the text of a number with this spelling's minus sign."""
        return self.minus + text[1:] if text.startswith("-") else text

    def raise_to(self, exponent: str) -> str:
        """Return what is appended to a base to raise it to an exponent.

        >>> UNICODE.raise_to("12"), UNICODE.raise_to("−0.8"), ASCII.raise_to("12")
        ('¹²', '^(−0.8)', '**12')
        """
        if self.raised and (exponent.isdecimal() or exponent == "t"):
            return exponent.translate(SUPERSCRIPTS)
        simple = exponent.isidentifier() or exponent.replace(".", "").isdecimal()
        return self.power + (exponent if simple else f"({exponent})")


UNICODE = Spelling(
    times="·",
    minus="−",
    power="^",
    raised=True,
    greek=True,
    around={"absolute": ("|", "|"), "maximum": ("max(", ")"), "minimum": ("min(", ")")},
    comparisons={ast.Eq: "=", ast.NotEq: "≠", ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥"},
    ellipsis="…",
)
"""The signs of mathematics."""

ASCII = Spelling(
    times="*",
    minus="-",
    power="**",
    raised=False,
    greek=False,
    around={"absolute": ("abs(", ")"), "maximum": ("max(", ")"), "minimum": ("min(", ")")},
    comparisons={ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="},
    ellipsis="...",
)
"""The signs of a terminal that knows no others, which are also Python's."""
