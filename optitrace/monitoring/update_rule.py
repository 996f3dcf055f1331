"""The update rule of a watched optimizer, and why a step by it left a number that is not finite."""

from __future__ import annotations

import inspect
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.experiment.float_formats import FORMATS, dtype_name
from optitrace.experiment.user_class import ChosenRule, rules_with_classes
from optitrace.experiment.user_module import SEPARATOR
from optitrace.monitoring.backward_tracker import SCALE
from optitrace.monitoring.fault_isolation import is_user_class
from optitrace.monitoring.tensor_values import is_sharded
from optitrace.rules.breakdown import Breakdown, TakenStep, break_down
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.hyperparameter import show
from optitrace.rules.optimizer import Optimizer as Entry
from optitrace.rules.rule import Rule
from optitrace.text import listed

NOT_HYPERPARAMETERS = ("foreach", "fused", "capturable", "differentiable")
"""What a class takes beside its parameters and hyperparameters: how it computes a step."""

COUNT = "step"
"""The entry of the state that counts the steps, where there is one."""


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """The rule of an optimizer, and how sure it is that it is the rule.

    Attributes:
        rule: None if there is none.
        note: why there is none, or what else there is to know of it.
        doubt: a clause: which settings cannot be read, so that a difference from the rule proves nothing.
        chosen: how the rule was chosen; None if it was found by itself.
    """

    rule: Rule | None
    note: str = ""
    doubt: str = ""
    chosen: ChosenRule | None = None


def match_rule(optimizer: Optimizer, choices: Sequence[ChosenRule] = ()) -> RuleMatch:
    """Return the rule of an optimizer: the one chosen for its class, or else the one that is known of it.

    A subclass has the rule of its base as long as it does not have a step of its own.
    """
    cls = type(optimizer)
    path = f"{cls.__module__}.{cls.__qualname__}"
    bases: tuple[type[Any], ...] = cls.__mro__
    found = ((base, each) for base in bases if (each := _match_of_class(base, choices)) is not None)
    base, match = next(found, (cls, None))
    if match is None:
        return RuleMatch(None, f"there is no rule for {path}")
    if match.rule is None:
        return RuleMatch(None, f"there is no rule for {base.__name__}")
    # torch wraps the step of each class anew, so that what is wrapped must be compared
    if inspect.unwrap(cls.step) is not inspect.unwrap(base.step):
        return RuleMatch(None, f"{path} has a step of its own, for which there is no rule")
    name = match.rule.name
    unknown, unread = _settings_beyond(match.rule, optimizer)
    said = f"its {listed(unread)} cannot be read" if unread else ""
    if match.chosen is not None:
        lacks = f"{name} has no {listed(unknown)}" if unknown else ""
        return replace(match, note="; ".join(filter(None, (lacks, said))))
    if unknown:
        version = f"torch {torch.__version__}" if base in rules_of_torch() else base.__module__
        return RuleMatch(None, f"the rule of {name} has no {unknown[0]}, which {version} has")
    return replace(match, doubt="" if base in rules_of_torch() else said)


def is_named(cls: type[Any], name: str) -> bool:
    """Return whether ``package.module:Class`` or ``path/file.py:Class`` names a class of this program.

    A module that imports the class, as packages do with those of their own modules, may be named as well.
    """
    place, _, attribute = name.rpartition(SEPARATOR)
    own, named = sys.modules.get(cls.__module__), sys.modules.get(place)
    if named is not None and attribute in vars(named):
        return vars(named)[attribute] is cls
    if cls.__qualname__ != attribute:
        return False
    if place.endswith(".py"):
        return os.path.realpath(getattr(own, "__file__", None) or "") == os.path.realpath(place)
    spec = getattr(own, "__spec__", None)  # that of a module that is run is not called __main__
    return f"{spec.name if spec else cls.__module__}.".startswith(f"{place}.")


def default_settings(rule: Rule, cls: type[Optimizer]) -> dict[str, Any]:
    """Return the defaults of a rule's hyperparameters, as a class has them where it has them."""
    own = _parameters(cls)
    defaults = ((p, own.get(p.name, p)) for p in rule.parameters)
    return {p.name: (p if each.default is each.empty else each).default for p, each in defaults}


def read_setting(optimizer: Optimizer, group: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a hyperparameter as a parameter group has it, or else the optimizer itself."""
    if name in group:
        return group[name]
    value = getattr(optimizer, name, default)
    return value if isinstance(value, _READABLE) else default


_READABLE = (bool, int, float, str, tuple, list, Tensor, types.NoneType)


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
    rule = match_rule(optimizer).rule
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


def _match_of_class(cls: type[Any], choices: Sequence[ChosenRule]) -> RuleMatch | None:
    """Return the rule of a class, not of its bases; None if nothing is known of it."""
    for chosen in choices:
        if is_named(cls, chosen.class_name):
            return RuleMatch(chosen.rule, chosen=chosen)
    if cls in rules_of_torch():
        return RuleMatch(rules_of_torch()[cls])
    for rule in rules_with_classes(cls.__module__.partition(".")[0]):
        if any(is_named(cls, SEPARATOR.join(path.rsplit(".", 1))) for path in rule.classes):
            return RuleMatch(rule)
    return None


def _settings_beyond(rule: Rule, optimizer: Optimizer) -> tuple[list[str], list[str]]:
    """Return the settings that a rule does not have, and the names of those that cannot be read."""
    known = {hyperparameter.name: hyperparameter for hyperparameter in Entry.of_rule(rule).hyperparameters}
    unknown, unread = [], []
    for name, parameter in _parameters(type(optimizer)).items():
        values = [read_setting(optimizer, group, name, _ABSENT) for group in optimizer.param_groups]
        values = [_number(value) for value in values if value is not _ABSENT]
        if not values:
            unread.append(name)
        for value in values:
            if name not in known:
                is_unknown = not isinstance(value, Tensor) and value != _number(parameter.default)
            else:
                is_unknown = isinstance(value, str) and not known[name].takes(value)
            if is_unknown:
                unknown.append(f"{name}={show(value)}")
    return list(dict.fromkeys(unknown)), unread


_ABSENT = object()


def _parameters(cls: type[Optimizer]) -> dict[str, inspect.Parameter]:
    """Return the settings that a class takes, by name."""
    _, *own = inspect.signature(cls).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name: p for p in own if p.kind not in variadic and p.name not in NOT_HYPERPARAMETERS}


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
