"""A batch: configurations that are run together, as tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optitrace.analysis.sweeping.batched_loss import BatchedLoss
from optitrace.experiment.float_formats import dtype_name
from optitrace.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Batch:
    """Configurations whose values are of one kind on each axis, before their first step.

    Attributes:
        rule: what is run.
        hyperparameters: Python values, or `Swept` where configurations differ, by name.
        w: the weights, shape (configurations, n), or (configurations, 1, n) for rules of matrices.
        loss: the loss.
        protocol: which gradient a step uses.
        steps: how many are taken.
        stop: asked again and again; once it says yes, the batch is abandoned.
    """

    rule: Rule
    hyperparameters: Mapping[str, Any]
    w: Tensor
    loss: BatchedLoss
    protocol: str
    steps: int
    stop: Callable[[], bool]

    @property
    def dtype(self) -> str:
        """The name of the dtype of the weights."""
        return dtype_name(self.w.dtype)

    def initial_state(self) -> list[Any]:
        """Return the state before step 1: numbers where torch has one for all weights, and else tensors."""
        initial = self.rule.initial_state(self.hyperparameters)
        return [
            value if value is None or entry.scalar else torch.zeros_like(self.w) + value
            for entry, value in zip(self.rule.state, initial, strict=True)
        ]
