"""How the diagnoses word what several of them say."""

from __future__ import annotations

from optitrace.text.number_format import counted


def short(number: float) -> str:
    """Return a number with two digits.

    >>> short(0.000123), short(1.0), short(12.3), short(1234.0)
    ('0.00012', '1', '12', '1200')
    """
    text = f"{number:.2g}"
    return f"{float(text):.0f}" if 100 <= abs(number) < 1e5 else text


def times(factor: float) -> str:
    """Return how many times as large something is, with two digits.

    >>> times(1.25), times(99.99), times(12345.0)
    ('1.2', '100', '12,000')
    """
    return f"{float(f'{factor:.2g}'):,.0f}" if factor >= 10 else short(factor)


def share_of_steps(count: int, taken: int) -> str:
    """Return in how many steps of all something was seen.

    >>> share_of_steps(1, 20), share_of_steps(1, 1)
    ('1 of 20 steps', '1 of 1 step')
    """
    return f"{count} of {counted(taken, 'step')}"
