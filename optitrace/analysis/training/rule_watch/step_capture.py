"""What was taken from one step of an optimizer, on the device where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optitrace.analysis.training.rule_watch.batch import ParameterBatch
from optitrace.analysis.training.rule_watch.tensor_sampler import Snapshot


@dataclass(frozen=True, slots=True)
class Before:
    """A batch before a step.

    Attributes:
        batch: where it was looked.
        snapshot: what was there.
        initial: the values of state that there is not yet.
    """

    batch: ParameterBatch
    snapshot: Snapshot
    initial: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gradient:
    """What a step used.

    Attributes:
        numbers: the gradient, shape (coordinates,).
        has: which places have one; torch leaves the others as they are.
        settings: every hyperparameter of the rule, in this step.
        scale: by which the optimizer divides it; None if it does not.
        found_inf: not zero, and the optimizer leaves the step out; None if it does not.
        is_capturable: whether torch computes with tensors where it otherwise has Python's numbers.
    """

    numbers: Tensor
    has: tuple[bool, ...]
    settings: Mapping[str, Any]
    scale: Tensor | None
    found_inf: Tensor | None
    is_capturable: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """One batch in one step.

    Attributes:
        step: the step's number, as the training has it.
        before: weights and state.
        gradient: what was used.
        after: weights and state.
        has_hooks: whether the program has hooks around the steps, which may change all of these.
    """

    step: int
    before: Before
    gradient: Gradient
    after: Snapshot
    has_hooks: bool

    @property
    def is_left_out(self) -> bool:
        """Whether the optimizer left the step out, told so by a GradScaler."""
        found = self.gradient.found_inf
        return found is not None and bool(found)
