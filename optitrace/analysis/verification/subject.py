"""The subject of a verification: a class, its rule, and the configurations that it is run in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch.optim import Optimizer

from optitrace.errors import UsageError
from optitrace.experiment.user_class import UserClass, find_rule
from optitrace.rules.discriminating_cases import cases_of, shapes_of
from optitrace.rules.hyperparameter import show
from optitrace.rules.optimizer import Optimizer as CatalogueEntry
from optitrace.rules.rule import Implementation, Rule
from optitrace.tracing.stepping import absence, construct, torch_class


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way in which a class is run.

    Attributes:
        settings: every hyperparameter of the rule.
        arguments: keyword arguments of the class.
        shape: of the weights.
    """

    settings: Mapping[str, Any]
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """A class and its rule.

    Attributes:
        name: what the class is called.
        optimizer_class: the class.
        rule: the rule that it is to follow.
        configurations: how it is run.
        implementations: in what ways it computes a step.
        is_sparse: whether it takes gradients in the sparse layout.
        notes: on how it is run.
    """

    name: str
    optimizer_class: type[Optimizer]
    rule: Rule
    configurations: tuple[Configuration, ...]
    implementations: tuple[Implementation, ...]
    is_sparse: bool
    notes: tuple[str, ...] = ()


def subject_of(optimizer: CatalogueEntry) -> Subject:
    """Return torch's class of a catalogue's entry, under its own rule.

    Raises:
        UsageError: the entry has no rule, or the installed torch lacks the class.
    """
    rule = find_rule(optimizer.name)
    optimizer_class = torch_class(optimizer.class_path)
    if optimizer_class is None:
        raise UsageError(f"{absence(optimizer)}.")
    settings = cases_of(rule)
    return Subject(
        optimizer.name,
        optimizer_class,
        rule,
        _configurations(rule, [(s, s) for s in settings]),
        optimizer.implementations,
        optimizer.needs == "sparse gradient",
    )


def subject_of_user_class(user_class: UserClass, rule: Rule, given: Mapping[str, Any]) -> Subject:
    """Return a custom class under a rule.

    The class is called with every hyperparameter that it shares with the rule, so that a different
    default makes no difference; settings of one that it lacks are run without it.

    Args:
        user_class: the class.
        rule: the rule that it is to follow.
        given: hyperparameters of the class that have these values throughout.

    Raises:
        UsageError: the class cannot be called with these.
    """
    accepted = [h.name for h in user_class.hyperparameters]
    offered = {p.name: p.default for p in rule.parameters}
    _check_names(user_class, rule, given)
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    reduced = 0
    cases = _cases_for(user_class, rule, given)
    for telling in cases:
        wanted = {**telling, **{n: v for n, v in given.items() if n in offered}}
        settings = {name: value for name, value in wanted.items() if name in accepted}
        reduced += settings != wanted
        shared = {name: settings.get(name, offered[name]) for name in offered if name in accepted}
        pair = settings, {**shared, **given}
        if pair not in pairs:
            pairs.append(pair)
    return Subject(
        user_class.name,
        user_class.optimizer_class,
        rule,
        _configurations(rule, pairs),
        user_class.implementations,
        rule.torch is not None and rule.torch.needs == "sparse gradient",
        tuple(_notes(user_class, rule, given, f"{reduced} of {len(cases)}" if reduced else "")),
    )


def _configurations(
    rule: Rule, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> tuple[Configuration, ...]:
    defaults = {parameter.name: parameter.default for parameter in rule.parameters}
    return tuple(
        Configuration(MappingProxyType({**defaults, **settings}), MappingProxyType({**arguments}), shape)
        for settings, arguments in pairs
        for shape in shapes_of(rule)
    )


def _cases_for(user_class: UserClass, rule: Rule, given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the settings of a rule, and where a class refuses some of them, what it accepts instead."""
    accepted = {h.name for h in user_class.hyperparameters}
    [shape, *_] = shapes_of(rule)

    def accepts(settings: Mapping[str, Any]) -> bool:
        arguments = {name: value for name, value in settings.items() if name in accepted}
        try:
            construct(
                user_class.optimizer_class, [torch.zeros(shape, requires_grad=True)], {**arguments, **given}
            )
        except Exception:  # a custom class can raise anything
            return False
        return True

    cases = [*cases_of(rule)]
    if not all(map(accepts, cases)):
        cases += [each for each in cases_of(rule, accepts) if each not in cases]
    return cases


def _check_names(user_class: UserClass, rule: Rule, given: Mapping[str, Any]) -> None:
    user_class.check(given, [parameter.name for parameter in rule.parameters])
    if all(hyperparameter.name != "lr" for hyperparameter in user_class.hyperparameters):
        raise UsageError(f"{user_class.has_no('lr').rstrip('.')}, and no rule can be tried without one.")


def _notes(user_class: UserClass, rule: Rule, given: Mapping[str, Any], reduced: str) -> list[str]:
    accepted = {h.name: h.default for h in user_class.hyperparameters}
    offered = {parameter.name: parameter.default for parameter in rule.parameters}
    notes = []
    if lacks := [name for name in offered if name not in accepted]:
        tried = f"; {reduced} settings were tried without" if reduced else ""
        notes.append(f"it has no {', '.join(lacks)}{tried}")
    if extra := [f"{n}={show(v)}" for n, v in accepted.items() if n not in offered and n not in given]:
        notes.append(f"{rule.name} has no {', '.join(extra)}: left at the default")
    differing = [
        f"{name}={show(accepted[name])} ({rule.name}: {show(default)})"
        for name, default in offered.items()
        if name in accepted and name != "lr" and name not in user_class.required and accepted[name] != default
    ]
    if differing:
        notes.append(f"other defaults: {', '.join(differing)}")
    return notes
