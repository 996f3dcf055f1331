"""The differences of two trainings: for each optimizer, the step, quantity and parameter where they part."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optitrace.analysis.differences import ComparedRun, Differences, diff_runs
from optitrace.analysis.settings_difference import SettingDifference
from optitrace.analysis.tolerance import ToleranceOf
from optitrace.experiment.float_formats import FORMATS
from optitrace.records.trace import Column
from optitrace.records.training import COLUMNS, OF_A_PARAMETER, OptimizerTrace, Training
from optitrace.rules.hyperparameter import show

RESULT = "weight_norm"
"""What a step ends with."""

BY_PARAMETER = "by_parameter"
"""The name of the norms of each parameter, where just one training has them."""


@dataclass(frozen=True, slots=True)
class NamedTraining:
    """A training and the file that it was read from."""

    name: str
    training: Training


@dataclass(frozen=True, slots=True)
class OptimizerDifferences:
    """How an optimizer that both trainings have differs.

    Attributes:
        name: its name.
        settings: its class, if it is not the same, and the hyperparameters that differ.
        parameters: the names of the parameters whose numbers both have, one by one; `coordinate` is the
            place of one among them, from 1.
        by_parameter: the quantities that were compared parameter by parameter.
        only: the parameters that A alone has, and those that B alone has.
        differences: the numbers that differ.
    """

    name: str
    settings: tuple[SettingDifference, ...]
    parameters: tuple[str, ...]
    by_parameter: tuple[str, ...]
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


def diff_trainings(a: NamedTraining, b: NamedTraining, tolerance: ToleranceOf) -> TrainingDifferences:
    """Compare two trainings optimizer by optimizer, at the steps that both have."""
    others = {optimizer.name: optimizer for optimizer in b.training.optimizers}
    mine = [optimizer.name for optimizer in a.training.optimizers]
    return TrainingDifferences(
        a=a,
        b=b,
        settings=_differing(_settings(a.training), _settings(b.training)),
        optimizers=tuple(
            _diff(optimizer, others[optimizer.name], tolerance)
            for optimizer in a.training.optimizers
            if optimizer.name in others
        ),
        only=_only(mine, list(others)),
    )


def _settings(training: Training) -> dict[str, str]:
    return {"program": training.program.command, "torch": training.versions.torch}


def _diff(a: OptimizerTrace, b: OptimizerTrace, tolerance: ToleranceOf) -> OptimizerDifferences:
    names, others = ([parameter.name for parameter in optimizer.parameters] for optimizer in (a, b))
    recorded = set(b.recorded_parameters)
    common = [name for name in a.recorded_parameters if name in recorded]
    by_parameter = OF_A_PARAMETER if common else ()
    dtypes = _dtype(a), _dtype(b)
    keeps_state = bool(a.state and b.state)
    differences = diff_runs(
        _compared(a, common, by_parameter, keeps_state=keeps_state),
        _compared(b, common, by_parameter, keeps_state=keeps_state),
        tolerance(dtypes),
    )
    only_a, only_b = differences.only
    if bool(a.by_parameter) != bool(b.by_parameter):
        only_a, only_b = (
            (*names, BY_PARAMETER) if optimizer.by_parameter else names
            for names, optimizer in ((only_a, a), (only_b, b))
        )
    return OptimizerDifferences(
        name=a.name,
        settings=_differing(_hyperparameters(a), _hyperparameters(b)),
        parameters=tuple(common),
        by_parameter=by_parameter,
        only=_only(names, others),
        differences=replace(differences, only=(only_a, only_b)),
    )


def _only(a: Sequence[str], b: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    mine, theirs = set(a), set(b)
    return tuple(name for name in a if name not in theirs), tuple(name for name in b if name not in mine)


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[SettingDifference, ...]:
    return tuple(
        SettingDifference(name, value, b[name]) for name, value in a.items() if b.get(name, value) != value
    )


def _hyperparameters(optimizer: OptimizerTrace) -> dict[str, str]:
    """Return the class and the hyperparameters as texts; of several groups, beside each other."""
    groups: Sequence[Mapping[str, Any]] = optimizer.hyperparameters
    texts = {name: [show(group[name]) for group in groups if name in group] for name in groups[0]}
    return {
        "class": optimizer.class_path,
        **{name: values[0] if len(set(values)) == 1 else "/".join(values) for name, values in texts.items()},
    }


def _dtype(optimizer: OptimizerTrace) -> str:
    """Return the dtype in whose units numbers are compared: that of the first parameter with a common one."""
    return next((p.dtype for p in optimizer.parameters if p.dtype in FORMATS), "float64")


def _compared(
    optimizer: OptimizerTrace, common: Sequence[str], by_parameter: Sequence[str], *, keeps_state: bool
) -> ComparedRun:
    """Return what is compared of an optimizer: norms of each parameter in place of those of all, if known."""
    columns = {name: optimizer.columns[name] for name in COLUMNS if name in optimizer.columns}
    optional: set[str] = set()
    for what, others, is_optional in (
        ("state", optimizer.state, not keeps_state),
        ("value", optimizer.values, True),
    ):
        named = {f"{what} {name}" if name in columns else name: c for name, c in others.items()}
        columns |= named
        optional |= named.keys() if is_optional else set()
    own = {name: place for place, name in enumerate(optimizer.recorded_parameters)}
    for name in by_parameter:
        columns[name] = _at_places(optimizer.by_parameter[name], [own[parameter] for parameter in common])
    return ComparedRun(
        optimizer.steps, columns, RESULT, _dtype(optimizer), optional=optional, taken=optimizer.taken
    )


def _at_places(column: Column, places: Sequence[int]) -> Column:
    """Return a column with some of each row's numbers."""
    if places == list(range(column.size)):
        return column
    rows = range(0, len(column.values), column.size)
    values = array("d", (column.values[row + place] for row in rows for place in places))
    return Column(values, (len(places),), column.first)
