"""The settings in which two runs differ."""

from __future__ import annotations

from dataclasses import dataclass

from optitrace.rules.hyperparameter import show
from optitrace.tracing.trace import Trace


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


def differing_settings(a: Trace, b: Trace) -> tuple[SettingDifference, ...]:
    """Return the settings of two runs that differ, the torch they ran with last.

    Of two optimizers only the hyperparameters that both have are compared.
    """
    settings, others = _settings(a), _settings(b)
    return tuple(
        SettingDifference(name, value, others[name])
        for name, value in settings.items()
        if others.get(name, value) != value
    )


def _settings(trace: Trace) -> dict[str, str]:
    """Return every setting as it is typed."""
    experiment = trace.experiment
    return {
        "optimizer": experiment.optimizer,
        **{name: show(value) for name, value in experiment.hyperparameters.items()},
        "loss": experiment.objective.formula,
        "start": show(experiment.start),
        "steps": str(experiment.steps),
        "gradient": experiment.gradient,
        "dtype": experiment.dtype,
        "device": experiment.device,
        "implementation": experiment.implementation,
        "torch": trace.versions.torch,
    }
