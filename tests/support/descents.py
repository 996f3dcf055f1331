"""Optimizers with one fault each, for the checks to find."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.rules.rule import Rule


class Descent(Optimizer):
    """Gradient descent with momentum and weight decay, in which nothing is wrong."""

    def __init__(
        self,
        params: Any,
        lr: float = 0.1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.move(p, p.grad, group, self.state[p])

    def move(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        if group["maximize"]:
            g = -g
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p
        if group["momentum"]:
            g = state["momentum_buffer"] = g + group["momentum"] * state.get("momentum_buffer", 0.0)
        p.sub_(group["lr"] * g)


def optimizer_of(rule: Rule, *, hidden: bool = False) -> type[Optimizer]:
    """Return an optimizer class that does what a rule says, and takes the rule's hyperparameters.

    Its state has torch's names, or names of its own if it is hidden.
    """
    names = [entry.key + ("_" if hidden else "") for entry in rule.state]

    class Ruled(Optimizer):
        def __init__(self, params: Any, **settings: Any) -> None:
            super().__init__(params, {p.name: p.default for p in rule.parameters} | settings)

        @torch.no_grad()
        def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                settings = {name: value for name, value in group.items() if name != "params"}
                for p in group["params"]:
                    self.move(p, settings)

        def move(self, p: Tensor, settings: dict[str, Any]) -> None:
            state = self.state[p]
            state["step"] = state.get("step", 0) + 1
            before = [
                state.get(name, value if value is None or entry.scalar else torch.full_like(p, float(value)))
                for entry, name, value in zip(rule.state, names, rule.initial_state(settings), strict=True)
            ]
            assert p.grad is not None
            after, *following = rule(p.clone(), p.grad, state["step"], *before, **settings)
            state.update({n: v for n, v in zip(names, following, strict=True) if v is not None})
            p.copy_(torch.as_tensor(after))

    Ruled.__init__.__signature__ = _signature(rule)  # type: ignore[attr-defined]
    Ruled.__qualname__ = Ruled.__name__ = f"My{rule.name}"
    return Ruled


def _signature(rule: Rule) -> inspect.Signature:
    positional = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("self", "params")]
    return inspect.Signature([*positional, *rule.parameters])
