"""Remarks under a table: what theory and the document have to say of a run."""

from __future__ import annotations

from optitrace.analysis.documented import Reproduction, as_printed
from optitrace.analysis.theory import StabilityLimit
from optitrace.experiment.experiment import Experiment
from optitrace.rules.hyperparameter import show


def stability_remark(experiment: Experiment, limit: StabilityLimit) -> str:
    """Return the sentence that says from which lr on a run diverges, and what its lr is."""
    name = experiment.optimizer
    if limit.lr == 0:
        return f"{name} converges here for no lr: {limit.reason}"
    lr = show(experiment.hyperparameters["lr"])
    return f"{name} diverges here for lr > {limit.lr:.4g} (= {limit.reason}), and lr is {lr}"


def documented_remark(reproduction: Reproduction) -> str:
    """Return the line that says what the document prints for these settings, and what reproduces it."""
    cell, printed = reproduction.cell, reproduction.cell.last
    ours = as_printed(reproduction.numbers)
    return (
        f"documented cell {cell.number} prints {as_printed(printed.numbers)} after step {printed.step}; "
        f"--gradient {cell.gradient} gives {'the same' if reproduction.agrees else ours}"
    )
