"""The update rule of a watched optimizer, and why a step by it left a number that is not finite."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.experiment.float_formats import FORMATS, dtype_name
from optitrace.monitoring.backward_tracker import SCALE
from optitrace.monitoring.fault_isolation import is_user_class
from optitrace.monitoring.tensor_values import is_sharded
from optitrace.rules.breakdown import Breakdown, TakenStep, break_down
from optitrace.rules.catalogue import OPTIMIZERS, TORCH_OPTIMIZERS
from optitrace.rules.hyperparameter import show
from optitrace.rules.rule import Rule

NOT_HYPERPARAMETERS = ("params", "foreach", "fused", "capturable", "differentiable")
"""What a class takes beside its hyperparameters: what it moves, and how it computes a step."""

COUNT = "step"
"""The entry of the state that counts the steps, where there is one."""


def rule_of(optimizer: Optimizer) -> tuple[Rule | None, str]:
    """Return the rule of an optimizer, or None and the reason why it has none.

    A subclass of a class of torch.optim has its rule as long as it does not have a step of its own.
    """
    cls = type(optimizer)
    path = f"{cls.__module__}.{cls.__qualname__}"
    known = rules_of_torch()
    base = next((each for each in cls.__mro__ if each in known), None)
    if base is None:
        return None, f"there is no rule for {path}"
    rule = known[base]
    if rule is None:
        return None, f"there is no rule for {base.__name__}"
    # torch wraps the step of each class anew, so that what is wrapped must be compared
    if inspect.unwrap(cls.step) is not inspect.unwrap(base.step):
        return None, f"{path} has a step of its own, for which there is no rule"
    if unknown := _unknown_setting(rule, base, optimizer):
        return None, f"the rule of {rule.name} has no {unknown}, which torch {torch.__version__} has"
    return rule, ""


@cache
def rules_of_torch() -> dict[type[Optimizer], Rule | None]:
    """Return the rule of each class of torch.optim, None for a class that is known and has none."""
    named = ((o.class_path.rpartition(".")[2], o.rule) for o in TORCH_OPTIMIZERS.values())
    return {getattr(torch.optim, name): rule for name, rule in named if hasattr(torch.optim, name)}


def explain_break(
    optimizer: Optimizer, parameters: Sequence[Tensor], before: Callable[[int], Tensor], step: int
) -> Breakdown | None:
    """Return why a step left a number that is not finite; None if that is not known.

    Args:
        optimizer: after the step.
        parameters: the parameters that it updates.
        before: returns the weights of a parameter before the step, given its place.
        step: the step's number, for an optimizer that does not count.
    """
    rule, _ = rule_of(optimizer)
    if rule is None or isinstance(getattr(optimizer, SCALE, None), Tensor):
        return None
    for index, parameter in enumerate(parameters):
        state = optimizer.state.get(parameter) or {}
        try:
            if (place := _broken_place(rule, parameter, state)) is not None:
                return _explained(rule, optimizer, parameter, before(index), step, place)
        except Exception as error:  # a program may do anything with its optimizer: then nothing is said
            if not is_user_class(error):
                raise
            return None
    return None


def _unknown_setting(rule: Rule, cls: type[Optimizer], optimizer: Optimizer) -> str:
    """Return the first setting of an optimizer that is newer than its rule; empty if there is none."""
    known = {hyperparameter.name: hyperparameter for hyperparameter in OPTIMIZERS[rule.name].hyperparameters}
    for name, parameter in inspect.signature(cls).parameters.items():
        if name in NOT_HYPERPARAMETERS:
            continue
        for value in (group[name] for group in optimizer.param_groups if name in group):
            if name not in known:
                is_unknown = not isinstance(value, Tensor) and value != parameter.default
            else:
                is_unknown = isinstance(value, str) and not known[name].takes(value)
            if is_unknown:
                return f"{name}={show(value)}"
    return ""


def _broken_place(rule: Rule, parameter: Tensor, state: Mapping[str, Any]) -> int | None:
    """Return the first place of a parameter where its weights, or else its state, are not finite."""
    for tensor in (parameter.detach(), *(state.get(entry.key) for entry in rule.state)):
        if isinstance(tensor, Tensor) and tensor.shape == parameter.shape and not is_sharded(tensor):
            wrong = tensor.isfinite().logical_not().reshape(-1)
            if wrong.any():
                return int(wrong.int().argmax())
    return None


def _explained(
    rule: Rule, optimizer: Optimizer, parameter: Tensor, before: Tensor, step: int, place: int
) -> Breakdown | None:
    gradient, state = parameter.grad, optimizer.state.get(parameter) or {}
    if gradient is None or dtype_name(parameter.dtype) not in FORMATS:
        return None
    after = {entry.key: state[entry.key] for entry in rule.state if entry.key in state}
    tensors = [after[entry.key] for entry in rule.state if entry.key in after and not entry.scalar]
    if any(tensor.dtype != parameter.dtype for tensor in tensors):
        return None
    groups = optimizer.param_groups
    group = next(each for each in groups if any(one is parameter for one in each["params"]))
    taken = TakenStep(
        rule=rule,
        number=int(state.get(COUNT, step)),
        weights=before.detach(),
        gradient=gradient.detach().to_dense(),
        before={},
        after=after,
        settings={name: _number(value) for name, value in group.items()},
    )
    return break_down(taken, place, float(parameter.detach().reshape(-1)[place]))


def _number(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_number, value))
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
