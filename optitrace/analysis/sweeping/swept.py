"""A hyperparameter that differs from configuration to configuration, in the place of a Python number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_HALF = (torch.float16, torch.bfloat16)


class Swept(Tensor):
    """The values of one hyperparameter: float64, shape (configurations, 1), or with one more 1 for matrices.

    A rule that is given these in the place of numbers computes for each configuration what torch does
    with a number: in float64 as long as only numbers meet, and rounded to the dtype of the weights, or
    to float32 if that is a half precision, where they meet weights. Plain tensors would make
    ``1 - beta2`` and ``beta2**t`` inexact in float32, and the whole in float64 is half as fast.

    A condition on it that a rule asks for with `if` holds of all configurations alike, as zero is
    never among its values: see `optitrace.analysis.sweeping.batches`.
    """

    def __bool__(self) -> bool:
        if not self.is_floating_point():
            raise TypeError("a comparison differs from configuration to configuration; use where")
        return True

    def plain(self) -> Tensor:
        """Return the values as a plain tensor."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.as_subclass(Tensor)

    def rounded(self, dtype: torch.dtype) -> Tensor:
        """Return the values as weights of a dtype meet them; kept, as a rule meets them in every step."""
        kept: Tensor | None = self.__dict__.get("kept")
        if kept is None:
            kept = self.plain()
            if kept.is_floating_point():
                kept = kept.to(torch.float32 if dtype in _HALF else dtype)
            self.__dict__["kept"] = kept
        return kept

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute among its like, or with weights."""
        with torch._C.DisableTorchFunctionSubclass():
            for other in args:
                if isinstance(other, Tensor) and not isinstance(other, cls):
                    rounded = [a.rounded(other.dtype) if isinstance(a, cls) else a for a in args]
                    result = func(*rounded, **(kwargs or {}))
                    return result.to(other.dtype) if other.dtype in _HALF else result
            result = func(*args, **(kwargs or {}))
            return result.as_subclass(cls) if isinstance(result, Tensor) else result
