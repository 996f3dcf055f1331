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
