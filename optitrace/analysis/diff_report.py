"""The difference of two traces or trainings: settings, numbers, and the first differing line of the rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from typing import Any

from optitrace.analysis.differences import Difference, Differences, diff
from optitrace.analysis.explanation import explain_row
from optitrace.analysis.tolerance import EXACT, Tolerance, ToleranceOf
from optitrace.experiment.objective import Objective
from optitrace.experiment.text import SETTINGS
from optitrace.records.trace import NamedTrace, TraceRecord
from optitrace.records.training import NamedTraining, OptimizerTrace, TrainingRecord
from optitrace.rules.hyperparameter import show
from optitrace.rules.reader import UNICODE, RuleLine, Spelling, read

PRECISIONS = (4, 6, 8, 10, 12, 14, 16)
"""The numbers of decimals to try until two different numbers look different."""

BEFORE_THE_RULE = ("loss", "gradient", "final_loss")
"""The quantities that no rule computes."""


@dataclass(frozen=True, slots=True)
class DiffReport:
    """The difference of two traces A and B.

    Attributes:
        a: the first trace.
        b: the second.
        settings: the settings that differ.
        differences: the numbers that differ.
        rule: the first line of the rule that differs; None if no rule decides the difference.
    """

    a: NamedTrace
    b: NamedTrace
    settings: tuple[SettingDifference, ...]
    differences: Differences
    rule: RuleDifference | None


@dataclass(frozen=True, slots=True)
class OptimizerDifferences:
    """The differences of an optimizer that both trainings have.

    Attributes:
        name: its name.
        settings: its class, if it is not the same, and the hyperparameters that differ.
        only: the parameters that only A has, and those that only B has.
        differences: the numbers that differ.
    """

    name: str
    settings: tuple[SettingDifference, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    differences: Differences

    @property
    def are_same(self) -> bool:
        """Whether nothing differs, and both have the same parameters."""
        return self.differences.are_same and not any(self.only)


@dataclass(frozen=True, slots=True)
class TrainingDifferences:
    """The differences of two trainings A and B.

    Attributes:
        a: the first.
        b: the second.
        settings: the differences in how they were run: the program, torch.
        optimizers: those that both have, by their names.
        only: the names of optimizers that only A has, and of those that only B has.
    """

    a: NamedTraining
    b: NamedTraining
    settings: tuple[SettingDifference, ...]
    optimizers: tuple[OptimizerDifferences, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def are_same(self) -> bool:
        """Whether no optimizer differs, and both have the same optimizers."""
        return all(optimizer.are_same for optimizer in self.optimizers) and not any(self.only)


def report_differences(
    a: NamedTrace, b: NamedTrace, tolerance: Tolerance, spelling: Spelling = UNICODE
) -> DiffReport:
    """Return the report on the difference of two traces."""
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


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """A setting in which two runs differ.

    Attributes:
        name: its name, that of the option without dashes.
        a: the first run's value, as typed.
        b: the second run's value.
    """

    name: str
    a: str
    b: str


def differing_settings(a: TraceRecord, b: TraceRecord) -> tuple[SettingDifference, ...]:
    """Return the settings of two runs that differ, the torch they ran with last.

    Of two optimizers only the hyperparameters that both have are compared.
    """
    settings, others = _settings(a), _settings(b)
    if a.experiment.objective != b.experiment.objective:
        settings["loss"], others["loss"] = _losses(a.experiment.objective, b.experiment.objective)
    return _differing(settings, others)


def differing_programs(a: TrainingRecord, b: TrainingRecord) -> tuple[SettingDifference, ...]:
    """Return the differences in how two trainings were run: the program, torch."""
    settings, others = (
        {"program": training.program.command, "torch": training.versions.torch} for training in (a, b)
    )
    return _differing(settings, others)


def differing_hyperparameters(a: OptimizerTrace, b: OptimizerTrace) -> tuple[SettingDifference, ...]:
    """Return the class of two optimizers, if it is not the same, and the hyperparameters that differ.

    The values of several groups are joined.
    """
    return _differing(_of_groups(a), _of_groups(b))


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[SettingDifference, ...]:
    return tuple(
        SettingDifference(name, value, b[name]) for name, value in a.items() if b.get(name, value) != value
    )


def _settings(trace: TraceRecord) -> dict[str, str]:
    """Return every setting except the loss, as typed."""
    experiment = trace.experiment
    named = [name for name in SETTINGS if name != "objective" and hasattr(experiment, name)]
    return {
        "optimizer": experiment.optimizer,
        **{name: show(value) for name, value in experiment.hyperparameters.items()},
        **{name: show(getattr(experiment, name)) for name in named},
        "torch": trace.versions.torch,
    }


def _losses(a: Objective, b: Objective) -> tuple[str, str]:
    """Return the text of two different losses: their formulas, or all of their settings."""
    if a.formula != b.formula:
        return a.formula, b.formula
    return _in_full(a), _in_full(b)


def _in_full(objective: Objective) -> str:
    return ", ".join(f"{name} {show(value)}" for name, value in objective.settings.items())


def _of_groups(optimizer: OptimizerTrace) -> dict[str, str]:
    """Return the class and the hyperparameters as texts."""
    groups: Sequence[Mapping[str, Any]] = optimizer.hyperparameters
    texts = {name: [show(group[name]) for group in groups if name in group] for name in groups[0]}
    return {
        "class": optimizer.class_path,
        **{name: values[0] if len(set(values)) == 1 else "/".join(values) for name, values in texts.items()},
    }


@dataclass(frozen=True, slots=True)
class RuleDifference:
    """The first line of the rule, at the first step that differs, whose value is not the same.

    Attributes:
        step: the step.
        coordinate: the coordinate that the lines are about, from 1; None for all.
        a: the line of the first trace; None if it has no such line.
        b: that of the second.
        is_computed: whether the lines, computed in float64 from what each trace had before the step,
            differ. If not, the settings are the same and torch's own arithmetic differs: then it is the
            line that computes the first number that differs.
    """

    step: int
    coordinate: int | None
    a: RuleLine | None
    b: RuleLine | None
    is_computed: bool


def first_rule_difference(
    a: TraceRecord,
    b: TraceRecord,
    first: Difference,
    tolerance: Tolerance = EXACT,
    spelling: Spelling = UNICODE,
) -> RuleDifference | None:
    """Return the first line of the rule that differs at the first difference of two traces.

    None where there is nothing to say: an optimizer has no rule, the step before was not recorded, or
    the difference comes from the loss and not from the rule.
    """
    if first.quantity in BEFORE_THE_RULE or first.step == 0 or a.weights.shape != b.weights.shape:
        return None
    if any(trace.experiment.entry.rule is None or _row(trace, first.step) is None for trace in (a, b)):
        return None
    dtypes = a.experiment.dtype, b.experiment.dtype
    are_same = partial(tolerance.allows, dtypes=dtypes)
    for precision in PRECISIONS:
        lines = _lines(a, first, precision, spelling)
        others = _lines(b, first, precision, spelling)
        mine, theirs = _first_pair(lines, others, are_same)
        if mine is None or theirs is None or mine.result != theirs.result:
            break
    if mine is not None or theirs is not None:
        return RuleDifference(first.step, first.coordinate, mine, theirs, is_computed=True)
    mine, theirs = _computing(a, lines, first.quantity), _computing(b, others, first.quantity)
    if mine is None or theirs is None:
        return None
    return RuleDifference(first.step, first.coordinate, mine, theirs, is_computed=False)


def _lines(trace: TraceRecord, first: Difference, precision: int, spelling: Spelling) -> Sequence[RuleLine]:
    """Return the lines of the step that differs, computed from what the trace had before it."""
    row, rule = _row(trace, first.step), trace.experiment.entry.rule
    assert row is not None
    assert rule is not None
    return explain_row(trace, row, read(rule), precision, first.coordinate, spelling).lines


def _row(trace: TraceRecord, step: int) -> int | None:
    """Return the row of a step if the row before it is that of the step before."""
    row = trace.steps.index(step)
    return row if trace.steps[row - 1] == step - 1 else None


def _first_pair(
    a: Sequence[RuleLine], b: Sequence[RuleLine], are_same: Callable[[float, float], bool]
) -> tuple[RuleLine | None, RuleLine | None]:
    """Return the first two lines that differ; None in place of a line that only the other has."""
    names = [line.name for line in a], [line.name for line in b]
    for what, begin, end, others_begin, others_end in SequenceMatcher(
        None, *names, autojunk=False
    ).get_opcodes():
        if what != "equal":
            mine, theirs = a[begin:end], b[others_begin:others_end]
            return (mine[0] if mine else None), (theirs[0] if theirs else None)
        for line, other in zip(a[begin:end], b[others_begin:others_end], strict=True):
            values, others = list(_flat(line.value)), list(_flat(other.value))
            if len(values) != len(others) or not all(map(are_same, values, others)):
                return line, other
    return None, None


def _flat(values: Any) -> Iterator[float]:
    if isinstance(values, float | int):
        yield values
    else:
        for value in values:
            yield from _flat(value)


def _computing(trace: TraceRecord, lines: Sequence[RuleLine], quantity: str) -> RuleLine | None:
    """Return the line that computes a state entry, or the weights, last."""
    rule = trace.experiment.entry.rule
    assert rule is not None
    symbols = [entry.symbol for entry in rule.state if entry.key == quantity]
    wanted = "w" if quantity == "weights" else symbols[0] if symbols else None
    return next((line for line in reversed(lines) if line.name == wanted), None)
