"""Why the weights of an optimizer, or its state, are not finite after a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from optitrace.experiment.float_formats import FORMATS, dtype_name
from optitrace.rules.breakdown import Breakdown, TakenStep, break_down
from optitrace.rules.rule import Rule
from optitrace.tracing.watching.class_rule import rule_of
from optitrace.tracing.watching.harmless import is_own
from optitrace.tracing.watching.norms import StepNorms
from optitrace.tracing.watching.recording import Value
from optitrace.tracing.watching.scaling import SCALE, told_by_scaler
from optitrace.tracing.watching.sharding import is_sharded

COUNT = "step"
"""The entry of the state that counts the steps, where there is one."""


def explain_break(
    optimizer: Optimizer, parameters: Sequence[Tensor], measured: StepNorms, step: int
) -> Breakdown | None:
    """Return why a step has left a number that is not finite; None if that cannot be told.

    Args:
        optimizer: after the step.
        parameters: what it moves.
        measured: what has measured the step, and kept the weights before it.
        step: the step's number, for an optimizer that does not count.
    """
    rule, _ = rule_of(optimizer)
    if rule is None or told_by_scaler(optimizer, SCALE) is not None:
        return None
    for index, parameter in enumerate(parameters):
        state = optimizer.state.get(parameter) or {}
        try:
            if (place := _broken(rule, parameter, state)) is not None:
                before, group = measured.before(index), _group_of(optimizer, parameter)
                return _explained(rule, parameter, state, before, group, step, place)
        except Exception as error:  # a program may do anything with its optimizer: then nothing is told
            if not is_own(error):
                raise
            return None
    return None


def is_finite(norm: Value) -> bool:
    """Tell whether a norm, or the norms of all parameters, are finite; on an accelerator, this waits."""
    if isinstance(norm, Tensor):
        return isfinite(norm.sum().item())
    return isfinite(sum(norm)) if isinstance(norm, list) else norm is None or isfinite(norm)


def _broken(rule: Rule, parameter: Tensor, state: Mapping[str, Any]) -> int | None:
    """Return the first place of a parameter where its weights, or else its state, are not finite."""
    entries = [state.get(entry.key) for entry in rule.state]
    for tensor in (parameter.detach(), *entries):
        if isinstance(tensor, Tensor) and tensor.shape == parameter.shape and not is_sharded(tensor):
            wrong = tensor.isfinite().logical_not().reshape(-1)
            if wrong.any():
                return int(wrong.int().argmax())
    return None


def _explained(
    rule: Rule,
    parameter: Tensor,
    state: Mapping[str, Any],
    before: Tensor,
    group: Mapping[str, Any],
    step: int,
    place: int,
) -> Breakdown | None:
    gradient = parameter.grad
    if gradient is None or dtype_name(parameter.dtype) not in FORMATS:
        return None
    after = {entry.key: state[entry.key] for entry in rule.state if entry.key in state}
    tensors = [after[entry.key] for entry in rule.state if entry.key in after and not entry.scalar]
    if any(tensor.dtype != parameter.dtype for tensor in tensors):
        return None
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


def _group_of(optimizer: Optimizer, parameter: Tensor) -> Mapping[str, Any]:
    return next(
        group for group in optimizer.param_groups if any(each is parameter for each in group["params"])
    )


def _number(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_number, value))
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
