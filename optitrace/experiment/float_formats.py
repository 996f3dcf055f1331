"""The floating-point formats of the dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A binary floating-point format, as IEEE 754 lays one out.

    Attributes:
        bits: significant bits, the hidden one included.
        smallest_exponent: the exponent e of the smallest normal number 2^e.
    """

    bits: int
    smallest_exponent: int

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return (2 - 2.0 ** (1 - self.bits)) * 2.0 ** (1 - self.smallest_exponent)


FORMATS: Mapping[str, FloatFormat] = {
    "float32": FloatFormat(24, -126),
    "float64": FloatFormat(53, -1022),
    "bfloat16": FloatFormat(8, -126),
    "float16": FloatFormat(11, -14),
}
"""The dtypes that weights can have, by torch's names, and their formats."""


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype.

    >>> import torch
    >>> dtype_name(torch.float32)
    'float32'
    """
    return str(dtype).removeprefix("torch.")
