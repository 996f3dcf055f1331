"""The square root of a sweep in torch: correctly rounded, as IEEE 754 requires and as numpy's is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from optitrace.native.square_root import square_root

HARD = [
    1 - 2.0**-53,
    1 + 2.0**-52,
    4 - 2.0**-51,
    0.25 - 2.0**-55,
    0.0,
    -0.0,
    -1.0,
    5e-324,
    torch.inf,
    torch.nan,
]
"""Numbers at the ends of a binade, where a step is half as large below as above, and special ones."""


def of_numpy(x: Tensor) -> Tensor:
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.sqrt(x.numpy()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30])
def test_a_square_root_is_rounded_correctly(dtype: torch.dtype, size: float) -> None:
    x = torch.rand(100_000, generator=torch.Generator().manual_seed(0), dtype=dtype) * size

    assert torch.equal(square_root(x), of_numpy(x))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_square_root_is_rounded_correctly_where_it_is_hard(dtype: torch.dtype) -> None:
    x = torch.tensor(HARD, dtype=dtype)
    found = square_root(x)

    assert isinstance(found, Tensor)
    assert torch.equal(found.nan_to_num(-7), of_numpy(x).nan_to_num(-7))
