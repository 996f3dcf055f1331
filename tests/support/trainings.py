"""Trainings made by hand, sound but for what a test makes of them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from optitrace.records.trace import Column, Outcome, Status, Versions
from optitrace.records.training import (
    KINDS,
    OptimizerTrace,
    Program,
    Tally,
    TrainingRecord,
    WatchedParameter,
)

PARAMETERS = (WatchedParameter("0.weight", (4, 2), "float32"), WatchedParameter("0.bias", (4,), "float32"))

INTERRUPTED = Outcome(Status.INTERRUPTED, 20)


def stepped(
    name: str = "SGD", steps: int = 20, columns: Mapping[str, Sequence[float]] | None = None, **changes: Any
) -> OptimizerTrace:
    """Return an optimizer that takes sound steps: each row is recorded, each weight moves by a thousandth.

    Args:
        name: of the optimizer.
        steps: how many.
        columns: columns with other numbers; of several numbers a row if there are more of them than steps.
        changes: other attributes.
    """
    sound = {
        "loss": [1.0] * steps,
        "lr": [0.1] * steps,
        "gradient_norm": [0.2] * steps,
        "update_norm": [0.02] * steps,
        "weight_norm": [20.0] * steps,
        "update_ratio": [0.001] * steps,
        "gradient": [float(KINDS.index("fresh"))] * steps,
    }
    numbers = {**sound, **(columns or {})}
    attributes: dict[str, Any] = {
        "class_path": f"torch.optim.{name}",
        "hyperparameters": ({"lr": 0.1},),
        "parameters": PARAMETERS,
        "taken": steps,
        "steps": range(1, steps + 1),
        "columns": {key: _column(values, steps) for key, values in numbers.items()},
        "gradients": {"fresh": Tally(steps, 1)},
    }
    return OptimizerTrace(name=name, **(attributes | changes))


def _column(values: Sequence[float], steps: int) -> Column:
    groups = len(values) // steps
    return Column(array("d", values), () if groups == 1 else (groups,))


def seen(*optimizers: OptimizerTrace, **changes: Any) -> TrainingRecord:
    """Return the training of some optimizers, that of a sound one if none is given."""
    attributes: dict[str, Any] = {
        "program": Program(("train.py",)),
        "versions": Versions("0", "2"),
        "outcome": Outcome(),
        "optimizers": optimizers or (stepped(),),
    }
    return TrainingRecord(**(attributes | changes))
