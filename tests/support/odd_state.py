"""An optimizer whose state is a tensor subclass that can do what its optimizer needs, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import return_and_correct_aliasing


class Packed(Tensor):
    """Wraps numbers, as the states of eight bits of torchao do."""

    numbers: Tensor

    @staticmethod
    def __new__(cls: type[Packed], numbers: Tensor) -> Packed:
        made: Packed = Tensor._make_wrapper_subclass(
            cls, numbers.shape, dtype=numbers.dtype, device=numbers.device
        )
        return made

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.ops.aten.detach.default:
            detached = cls(args[0].numbers)
            return return_and_correct_aliasing(  # type: ignore[no-untyped-call]
                function, args, kwargs or {}, detached
            )
        raise NotImplementedError(f"Packed has no {function}")


class PackedMomentum(Optimizer):
    """Gradient descent along a mean of the gradients, which is packed."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state.setdefault("exp_avg", Packed(torch.zeros_like(p)))
                state.setdefault("steps", torch.zeros(()))
                state["steps"] += 1
                state["exp_avg"].numbers.lerp_(p.grad, 0.1)
                p.sub_(group["lr"] * state["exp_avg"].numbers)
