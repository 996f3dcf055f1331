"""The ASCII spelling of mathematical signs, for where nothing else can be shown."""

from __future__ import annotations

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
        "\u00a0": " ",
        "α": "alpha",
        "β": "beta",
        "ε": "eps",
        "η": "eta",
        "μ": "mu",
        "ρ": "rho",
    }
)

SIGNS = "".join(map(chr, _ASCII)) + "─"
"""The signs outside ASCII that views use."""


def to_ascii(text: str) -> str:
    """Return a text spelled in ASCII.

    >>> to_ascii("w1² − 2·w2²")
    'w1^2 - 2*w2^2'
    """
    return text.translate(_ASCII).encode("ascii", errors="replace").decode("ascii")
