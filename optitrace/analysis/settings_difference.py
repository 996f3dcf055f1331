"""The settings in which two runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optitrace.experiment.objective import Objective
from optitrace.experiment.text import SETTINGS
from optitrace.records.trace import TraceRecord
from optitrace.records.training import OptimizerTrace, TrainingRecord
from optitrace.rules.hyperparameter import show


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """A setting that two runs do not share.

    Attributes:
        name: its name, as an option has it but for the dashes.
        a: the first run's value, as it is typed.
        b: the second run's.
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
    """Return in what two trainings were not run alike: the program, torch."""
    settings, others = (
        {"program": training.program.command, "torch": training.versions.torch} for training in (a, b)
    )
    return _differing(settings, others)


def differing_hyperparameters(a: OptimizerTrace, b: OptimizerTrace) -> tuple[SettingDifference, ...]:
    """Return the class of two optimizers, if it is not the same, and the hyperparameters that differ.

    Those of several groups stand beside each other.
    """
    return _differing(_of_groups(a), _of_groups(b))


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[SettingDifference, ...]:
    return tuple(
        SettingDifference(name, value, b[name]) for name, value in a.items() if b.get(name, value) != value
    )


def _settings(trace: TraceRecord) -> dict[str, str]:
    """Return every setting but the loss as it is typed."""
    experiment = trace.experiment
    named = [name for name in SETTINGS if name != "objective" and hasattr(experiment, name)]
    return {
        "optimizer": experiment.optimizer,
        **{name: show(value) for name, value in experiment.hyperparameters.items()},
        **{name: show(getattr(experiment, name)) for name in named},
        "torch": trace.versions.torch,
    }


def _losses(a: Objective, b: Objective) -> tuple[str, str]:
    """Return two losses so that they look different: by their formulas, or by all that decides them."""
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
