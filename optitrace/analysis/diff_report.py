"""All that is to be said of the difference of two traces, or of two trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optitrace.analysis.differences import Differences, diff
from optitrace.analysis.rule_difference import RuleDifference, first_rule_difference
from optitrace.analysis.settings_difference import (
    SettingDifference,
    differing_hyperparameters,
    differing_programs,
    differing_settings,
)
from optitrace.analysis.tolerance import Tolerance, ToleranceOf
from optitrace.records.trace import NamedTrace
from optitrace.records.training import NamedTraining, OptimizerTrace
from optitrace.rules.reader import UNICODE, Spelling


@dataclass(frozen=True, slots=True)
class DiffReport:
    """The difference of two traces A and B.

    Attributes:
        a: the first trace.
        b: the second.
        settings: the settings that differ.
        differences: the numbers that differ.
        rule: the first line of the rule that differs; None where there is nothing to say of a rule.
    """

    a: NamedTrace
    b: NamedTrace
    settings: tuple[SettingDifference, ...]
    differences: Differences
    rule: RuleDifference | None


@dataclass(frozen=True, slots=True)
class OptimizerDifferences:
    """How an optimizer that both trainings have differs.

    Attributes:
        name: its name.
        settings: its class, if it is not the same, and the hyperparameters that differ.
        only: the parameters that A alone has, and those that B alone has.
        differences: the numbers that differ.
    """

    name: str
    settings: tuple[SettingDifference, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    differences: Differences

    @property
    def are_same(self) -> bool:
        """Whether nothing differs, and neither has a parameter that the other has not."""
        return self.differences.are_same and not any(self.only)


@dataclass(frozen=True, slots=True)
class TrainingDifferences:
    """All that distinguishes two trainings A and B.

    Attributes:
        a: the first.
        b: the second.
        settings: in what they were not run alike: the program, torch.
        optimizers: those that both have, by their names.
        only: the names of optimizers that A alone has, and of those that B alone has.
    """

    a: NamedTraining
    b: NamedTraining
    settings: tuple[SettingDifference, ...]
    optimizers: tuple[OptimizerDifferences, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def are_same(self) -> bool:
        """Whether no optimizer differs, and neither has one that the other has not."""
        return all(optimizer.are_same for optimizer in self.optimizers) and not any(self.only)


def report_differences(
    a: NamedTrace, b: NamedTrace, tolerance: Tolerance, spelling: Spelling = UNICODE
) -> DiffReport:
    """Return all that is to be said of the difference of two traces."""
    differences = diff(a.trace, b.trace, tolerance)
    first = differences.first
    rule = None if first is None else first_rule_difference(a.trace, b.trace, first, tolerance, spelling)
    return DiffReport(a, b, differing_settings(a.trace, b.trace), differences, rule)


def diff_trainings(a: NamedTraining, b: NamedTraining, tolerance: ToleranceOf) -> TrainingDifferences:
    """Compare two trainings optimizer by optimizer, at the steps that both have."""
    mine, others = ({own.name: own for own in named.training.optimizers} for named in (a, b))
    return TrainingDifferences(
        a=a,
        b=b,
        settings=differing_programs(a.training, b.training),
        optimizers=tuple(_diff(own, others[name], tolerance) for name, own in mine.items() if name in others),
        only=_only(list(mine), list(others)),
    )


def _diff(a: OptimizerTrace, b: OptimizerTrace, tolerance: ToleranceOf) -> OptimizerDifferences:
    names, others = ([parameter.name for parameter in optimizer.parameters] for optimizer in (a, b))
    return OptimizerDifferences(
        name=a.name,
        settings=differing_hyperparameters(a, b),
        only=_only(names, others),
        differences=diff(a, b, tolerance((a.dtype, b.dtype))),
    )


def _only(a: Sequence[str], b: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    mine, theirs = set(a), set(b)
    return tuple(name for name in a if name not in theirs), tuple(name for name in b if name not in mine)
