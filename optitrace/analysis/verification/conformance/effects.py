"""Whether a hyperparameter has any effect, alone or with other values of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from optitrace.analysis.verification.conformance.alternatives import alternatives
from optitrace.analysis.verification.conformance.trial import (
    STEPS,
    After,
    Arguments,
    Trial,
    differ,
    same,
    settings_of,
    weights_of,
)
from optitrace.rules.numerals import listed

FEW = 3
"""How many other values of a hyperparameter are tried where others are changed with it."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What is known of a class's hyperparameters.

    Attributes:
        dead: what changed nothing, and the values that were tried.
        untried: what has no other value that could be tried.
        tried: in a clause, with what the values of `dead` were tried.
    """

    dead: Mapping[str, Sequence[str]]
    untried: Sequence[str]
    tried: str


def effects(trial: Trial) -> Effects | None:
    """Return what the hyperparameters of a class do; None if it moves no weight that it is given."""
    runs = [_Runs(each) for each in (trial, *filter(None, [trial.wider()]))]
    if not any(each.move() for each in runs):
        return None
    dead, untried = {}, []
    for hyperparameter in trial.own.hyperparameters:
        if hyperparameter.name == "verbose":  # it changes what is printed
            continue
        for part, others in alternatives(hyperparameter, trial.value(hyperparameter.name)).items():
            found = [each.counts(hyperparameter.name, list(others.values())) for each in runs]
            if all(counts is None for counts in found):
                untried.append(part)
            elif not any(found):
                dead[part] = list(others)
    return Effects(dead, untried, _tried([each.trial for each in runs]))


@dataclass(frozen=True, slots=True)
class _Runs:
    """The runs of a trial, each taken once."""

    trial: Trial
    paths: dict[str, list[After] | None] = field(default_factory=dict)

    def path(self, arguments: Arguments) -> list[After] | None:
        key = settings_of(arguments)
        if key not in self.paths:
            self.paths[key] = self.trial.attempt(arguments)
        return self.paths[key]

    def move(self) -> bool:
        """Tell whether any weight is moved."""
        start = self.trial.bench({}).snapshot()
        return any(not all(map(same, start, weights)) for weights in weights_of(self.path({}) or ()))

    def counts(self, name: str, others: Sequence[Any]) -> bool | None:
        """Tell whether any other value changes anything; None if none of them is taken."""
        taken = False
        for beside, tried in self._beside(name, others):
            before = self.path(beside)
            for other in tried if before else ():
                path = self.trial.attempt({**beside, name: other})
                taken = taken or path is not None
                if path and before and differ(before, path):
                    return True
        return False if taken else None

    def _beside(self, name: str, others: Sequence[Any]) -> Iterator[tuple[Arguments, Sequence[Any]]]:
        """Yield settings of the other hyperparameters, and the values that are tried with them.

        Two are changed at once, as the kind of a weight decay counts only where there is a weight decay, and
        of that kind.
        """
        free = [variation for variation in self.trial.variations if name not in variation]
        for variation in free:
            yield variation, others
        for one, other in combinations(free[1:], 2):
            yield {**one, **other}, others[:FEW]
        for hyperparameter in self.trial.own.hyperparameters:
            if hyperparameter.name not in (name, "lr"):
                value = self.trial.value(hyperparameter.name)
                for values in alternatives(hyperparameter, value).values():
                    for each in values.values():
                        yield {hyperparameter.name: each}, others[:FEW]


def _tried(trials: Sequence[Trial]) -> str:
    [first, *_] = trials
    others = [settings_of(variation) for variation in first.variations[1:]]
    pairs = f", and with any two of {', '.join(others)}" if others else ""
    shapes = dict.fromkeys(shape for trial in trials for shape in trial.shapes)
    weights = listed(["×".join(map(str, shape)) for shape in shapes])
    return (
        f"tried alone, with other values of each other hyperparameter{pairs}, for {STEPS} steps with a "
        f"changing lr, on weights of shape {weights}"
    )
