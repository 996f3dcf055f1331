"""Optimizers with one fault each, for the checks to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.rules.rule import Rule
from optitrace.tracing.reference_optimizer import reference_class


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
    if hidden:
        rule = replace(rule, state=tuple(replace(entry, key=f"{entry.key}_") for entry in rule.state))
    return type(f"My{rule.name}", (reference_class(rule),), {})
