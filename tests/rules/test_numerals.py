from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optitrace.text import format_significant


@given(
    value=st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True), digits=st.integers(1, 17)
)
def test_a_number_is_rounded_to_its_significant_digits_and_never_to_zero(value: float, digits: int) -> None:
    shown = Decimal(format_significant(value, digits))

    assert (shown == 0) is (value == 0)
    assert abs(shown - Decimal(value)) <= abs(Decimal(value)) * Decimal(6).scaleb(-digits)


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (1.2e-5, 4, "1.200e-05"),
        (1e-4, 2, "0.00010"),
        (9.9996e-5, 4, "0.0001000"),
        (0.05, 4, "0.05000"),
        (-8.0, 4, "-8.000"),
        (99999.6, 4, "100000"),
        (9999999.6, 4, "1.000e+07"),
        (-0.0, 4, "0"),
        (math.nan, 4, "nan"),
        (-math.inf, 4, "-inf"),
    ],
)
def test_small_and_large_numbers_are_readable_beside_each_other(
    value: float, digits: int, expected: str
) -> None:
    assert format_significant(value, digits) == expected
