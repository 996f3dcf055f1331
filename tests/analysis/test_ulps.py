from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optitrace.analysis.tolerance import ulp, ulps_between
from optitrace.experiment.float_formats import FORMATS


@pytest.mark.parametrize("dtype", FORMATS)
def test_formats_are_those_of_torch(dtype: str) -> None:
    info = torch.finfo(getattr(torch, dtype))

    assert 2.0 ** (1 - FORMATS[dtype].bits) == info.eps
    assert 2.0 ** FORMATS[dtype].smallest_exponent == info.smallest_normal


@given(st.floats(min_value=1e-30, max_value=1e30))
def test_an_ulp_is_the_step_to_the_next_number_of_torch(value: float) -> None:
    number = torch.tensor(value, dtype=torch.float32)
    following = torch.nextafter(number, torch.tensor(math.inf))

    assert ulp(number.item(), "float32") == (following.double() - number.double()).item()


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1.0, 1.0 + 2.0**-23, 1.0),
        (-1.0, -1.0 - 2.0**-22, 2.0),
        (1.0, 1.0 - 2.0**-24, 0.5),
        (0.0, 2.0**-149, 1.0),
        (math.inf, math.inf, 0.0),
        (math.nan, math.nan, 0.0),
        (math.inf, 1.0, math.inf),
        (math.nan, 1.0, math.inf),
    ],
)
def test_distance_is_in_units_of_the_larger(a: float, b: float, expected: float) -> None:
    assert ulps_between(a, b, "float32") == expected
    assert ulps_between(b, a, "float32") == expected
