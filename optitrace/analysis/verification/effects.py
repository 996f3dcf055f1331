"""Whether a hyperparameter has any effect, alone or with other values of the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, TypeAlias

from optitrace.analysis.verification.trial import (
    STEPS,
    After,
    Arguments,
    Trial,
    alternatives,
    first_difference,
    same,
    settings_of,
)
from optitrace.experiment.user_class import FLAGS
from optitrace.text import listed

FEW = 3
"""How many other values of a hyperparameter are tried where others are changed with it."""

MOST_OTHERS = 300
"""How many settings of the others are tried at most; a class of twenty hyperparameters has more pairs."""

OF_TORCH = (*FLAGS, "initial_lr", "lr", "max_lr", "param_names", "verbose")
"""What torch puts into a parameter group, and what changes nothing but what is printed."""

Setting: TypeAlias = tuple[Arguments, Sequence[Any]]
"""Settings of the other hyperparameters, and the values that are tried with them."""


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects of a class's hyperparameters.

    Attributes:
        dead: what changed nothing, and the values that were tried.
        untried: what has no other value that could be tried, and what the class looks for in its parameter
            groups and is no hyperparameter.
        tried: a clause: how the values of `dead` were tried.
    """

    dead: Mapping[str, Sequence[str]]
    untried: Sequence[str]
    tried: str


def effects(trial: Trial) -> Effects | None:
    """Return what the hyperparameters of a class do; None if it moves no weight that it is given."""
    trials = (trial, *trial.others())
    if not any(map(_moves, trials)):
        return None
    runs = [_Runs(each) for each in trials]
    dead, untried = {}, []
    for hyperparameter in trial.user_class.hyperparameters:
        name = hyperparameter.name
        if name in OF_TORCH and name != "lr":
            continue
        for part, values in alternatives(hyperparameter, trial.value(name)).items():
            counts = _first_that_counts(runs, name, list(values.values()))
            if counts is None:
                untried.append(part)
            elif not counts:
                dead[part] = list(values)
    return Effects(dead, [*untried, *(_looked_for(trial) if dead else ())], _tried(trials))


@dataclass(frozen=True, slots=True)
class _Runs:
    """The runs of a trial, each made once."""

    trial: Trial
    paths: dict[str, list[After] | None] = field(default_factory=dict)

    def path(self, arguments: Arguments) -> list[After] | None:
        """Return weights and state after each step with these arguments; None if the class refuses them."""
        key = settings_of(arguments)
        if key not in self.paths:
            self.paths[key] = self.trial.attempt(arguments)
        return self.paths[key]

    def counts(self, name: str, settings: Iterable[Setting]) -> bool | None:
        """Return whether any other value changes anything; None if the class accepts none."""
        is_accepted = False
        for others, values in settings:
            before = self.path(others)
            for value in values if before else ():
                path = self.trial.attempt({**others, name: value})
                is_accepted = is_accepted or path is not None
                if path and before and first_difference(before, path):
                    return True
        return False if is_accepted else None


def _first_that_counts(runs: Sequence[_Runs], name: str, values: Sequence[Any]) -> bool | None:
    """Return whether other values change anything in any of the trials; None if not all could be tried."""
    [first, *further] = runs
    others = list(_further(first.trial, name, values[:FEW]))
    has_few = len(others) <= MOST_OTHERS
    found = [first.counts(name, (*_singly(first.trial, name, values), *(others if has_few else ())))]
    for each in further:
        if found[-1]:
            return True
        found.append(each.counts(name, _singly(each.trial, name, values)))
    if any(found):
        return True
    return False if has_few and False in found else None


def _singly(trial: Trial, name: str, values: Sequence[Any]) -> Iterator[Setting]:
    """Yield what is off by default on, and what is on off, one at a time."""
    return ((variation, values) for variation in trial.variations if name not in variation)


def _further(trial: Trial, name: str, values: Sequence[Any]) -> Iterator[Setting]:
    """Yield two of these at a time, and every other value of each hyperparameter.

    The kind of a weight decay counts only where there is a weight decay, and of that kind.
    """
    free = [variation for variation in trial.variations if variation and name not in variation]
    for one, other in combinations(free, 2):
        yield {**one, **other}, values
    for hyperparameter in trial.user_class.hyperparameters:
        if hyperparameter.name not in (name, "lr"):
            for others in alternatives(hyperparameter, trial.value(hyperparameter.name)).values():
                yield from (({hyperparameter.name: other}, values) for other in others.values())


def _moves(trial: Trial) -> bool:
    start = trial.prescribed_run({}).snapshot()
    return any(not all(map(same, start, after.weights)) for after in trial.run({}))


class _Group(dict[str, Any]):
    """A parameter group that records what is looked for in it and is missing."""

    def __init__(self, group: Mapping[str, Any]) -> None:
        super().__init__(group)
        self.missed: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            return default
        return self[key]

    def __contains__(self, key: object) -> bool:
        is_there = super().__contains__(key)
        if not is_there:
            self.missed.add(str(key))
        return is_there


def _looked_for(trial: Trial) -> list[str]:
    """Return what a class looks for in its parameter groups, and neither finds nor puts there."""
    run = trial.prescribed_run({})
    groups = [_Group(group) for group in run.optimizer.param_groups]
    run.optimizer.param_groups[:] = groups
    for _ in range(STEPS):
        run.step()
    missed = {key for group in groups for key in group.missed - group.keys() - {*OF_TORCH}}
    return [f"{key} of a parameter group" for key in sorted(missed)]


def _tried(trials: Sequence[Trial]) -> str:
    [first, *_] = trials
    others = [settings_of(variation) for variation in first.variations if variation]
    pairs = f", and with any two of {', '.join(others)}" if others else ""
    shapes = dict.fromkeys(shape for trial in trials for shape in trial.shapes)
    weights = listed(["×".join(map(str, shape)) for shape in shapes])
    return (
        f"tried alone, with other values of each other hyperparameter{pairs}, for {STEPS} steps with a "
        f"changing lr, on weights of shape {weights}"
    )
