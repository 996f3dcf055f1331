"""The update rule of an optimizer, determined by its class and the class whose `step` it inherits."""

from __future__ import annotations

import inspect
from functools import cache

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.rules.hyperparameter import show
from optitrace.rules.rule import Rule

HOW = ("params", "foreach", "fused", "capturable", "differentiable")
"""What a class takes beside its hyperparameters: what it moves, and how it computes a step."""


def rule_of(optimizer: Optimizer) -> tuple[Rule | None, str]:
    """Return the rule of an optimizer, or None and the reason why it has none.

    A subclass of a class of torch.optim has its rule as long as it does not have a step of its own.
    """
    cls = type(optimizer)
    path = f"{cls.__module__}.{cls.__qualname__}"
    known = _rules()
    base = next((each for each in cls.__mro__ if each in known), None)
    if base is None:
        return None, f"there is no rule for {path}"
    rule = known[base]
    if rule is None:
        return None, f"there is no rule for {base.__name__}"
    # torch wraps the step of each class anew, so that what is wrapped must be compared
    if inspect.unwrap(cls.step) is not inspect.unwrap(base.step):
        return None, f"{path} has a step of its own, for which there is no rule"
    if unknown := _unknown(rule, base, optimizer):
        return None, f"the rule of {rule.name} has no {unknown}, which torch {torch.__version__} has"
    return rule, ""


def _unknown(rule: Rule, cls: type[Optimizer], optimizer: Optimizer) -> str:
    """Return the first setting of an optimizer that is newer than its rule; empty if there is none."""
    known = {hyperparameter.name: hyperparameter for hyperparameter in OPTIMIZERS[rule.name].hyperparameters}
    for name, parameter in inspect.signature(cls).parameters.items():
        values = [group[name] for group in optimizer.param_groups if name in group and name not in HOW]
        for value in values:
            if name not in known:
                is_unknown = not isinstance(value, Tensor) and value != parameter.default
            else:
                is_unknown = isinstance(value, str) and not known[name].takes(value)
            if is_unknown:
                return f"{name}={show(value)}"
    return ""


@cache
def _rules() -> dict[type[Optimizer], Rule | None]:
    """Return the rule of each class of torch.optim, None for a class that is known and has none."""
    named = ((o.class_path.rpartition(".")[2], o.rule) for o in OPTIMIZERS.values() if o.class_path)
    return {getattr(torch.optim, name): rule for name, rule in named if hasattr(torch.optim, name)}
