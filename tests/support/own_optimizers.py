"""Optimizer classes of a person's own, with the needs and the faults that such classes have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer


class SignMomentum(Optimizer):
    """Steps by the sign of a running mean, and overwrites the gradient.

    Its state has things that are no numbers.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0,
        mode: Literal["plain", "fancy"] = "plain",
        steps: int = 3,
        *,
        cautious: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})
        self.scale = steps if mode == "plain" and not cautious else 1

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(mean=torch.zeros_like(p), name="sign", nothing=None, members=[1, 2])
                state["mean"].lerp_(p.grad, 1 - group["betas"][0])
                p.sub_(state["mean"].sign(), alpha=group["lr"] * self.scale)
                p.grad.fill_(float("nan"))


class NeedsClosure(torch.optim.SGD):
    """Asks for a closure in its signature."""

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        loss = closure()
        super().step()
        return loss


class CallsClosure(torch.optim.SGD):
    """Calls a closure that its signature makes optional."""

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # type: ignore[override]
        loss = closure()  # type: ignore[misc]
        super().step()
        return loss


class NeedsMatrix(Optimizer):
    """Takes matrices alone."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            if p.ndim != 2:
                raise ValueError("this optimizer only supports 2D parameters")
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"])


class NeedsGraph(Optimizer):
    """Newton's method: differentiates the gradient."""

    def __init__(self, params: Any, lr: float = 1.0) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Callable[[], Tensor] | None = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            (curvature,) = torch.autograd.grad(p.grad.sum(), p)
            p.data.sub_(p.grad.detach() / curvature, alpha=self.param_groups[0]["lr"])


class NeedsRank(Optimizer):
    """Has a hyperparameter without a default, and fails in its third step."""

    def __init__(self, params: Any, rank: int, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})
        self.left = rank

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:  # type: ignore[override]
        self.left -= 1
        if self.left == 0:
            raise KeyError("no rank\nis left")
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"])


class NoRate(Optimizer):
    """Has no learning rate at all."""

    def __init__(self, params: Any, step_size: float = 0.1) -> None:
        super().__init__(params, {})
        self.step_size = step_size

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.step_size)


class Talks(torch.optim.SGD):
    """Prints, and has a text for a hyperparameter and one that is called help."""

    def __init__(self, params: Any, lr: float = 0.1, mood: str = "calm", help: int = 0) -> None:
        super().__init__(params, lr=lr)
        self.mood = mood

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # type: ignore[override]
        print(f"{self.mood}, step by step")  # noqa: T201
        return super().step()


class HasModes(torch.optim.SGD):
    """Refuses to step before it is put into train mode."""

    is_training = False

    def train(self) -> None:
        self.is_training = True

    def eval(self) -> None:
        self.is_training = False

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # type: ignore[override]
        if not self.is_training:
            raise RuntimeError("call train() before the first step")
        return super().step()


class Exits(torch.optim.SGD):
    """Ends the process."""

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # type: ignore[override]
        raise SystemExit(0)


class OddState(torch.optim.SGD):
    """Keeps state of every odd kind: names that are no texts, forms that change, things that are empty."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # type: ignore[override]
        super().step()
        state: dict[Any, Any] = self.state[self.param_groups[0]["params"][0]]
        self.taken = getattr(self, "taken", 0) + 1
        state[0] = torch.ones(2)
        state["two\nlines"] = 2.0
        state["growing"] = torch.ones(self.taken + 1)
        state["changing"] = torch.ones(2) if self.taken < 2 else 1.0
        state["empty"] = torch.ones(0)
        state["huge"] = 10**400
        state["flags"] = torch.tensor([True, False])
        state["nested"] = {"a": 1}


class SwapsWeights(torch.optim.SGD):
    """Puts a new tensor in place of the weights."""

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # type: ignore[override]
        self.param_groups[0]["params"][0] = torch.zeros(2, requires_grad=True)


class DropsWeights(torch.optim.SGD):
    """Empties its parameter group."""

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # type: ignore[override]
        self.param_groups[0]["params"].clear()


class Refuses(torch.optim.SGD):
    """Refuses every setting."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        raise ArithmeticError("lr is never right")


NOT_A_CLASS = 3


class NamedAsOptions(SignMomentum):
    """Has hyperparameters named as options of the command line are."""

    def __init__(self, params: Any, lr: float = 0.1, *, output: float = 1.0, n: int = 4) -> None:
        super().__init__(params, lr=lr * output, steps=n)
