"""Columns as tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optitrace.records.trace import Column

if TYPE_CHECKING:
    from torch import Tensor


def tensor_of(column: Column, rows: int) -> Tensor:
    """Return a column as a tensor of shape (rows, ...), float64 on the CPU, NaN where there is no value."""
    import torch

    tensor = torch.full((rows, *column.shape), torch.nan, dtype=torch.float64)
    if len(column.values):
        values = torch.frombuffer(bytearray(column.values), dtype=torch.float64)
        tensor[column.first :] = values.reshape(-1, *column.shape)
    return tensor
