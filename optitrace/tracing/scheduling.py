"""Schedulers of torch over an optimizer that is stepped without torch's wrappers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from optitrace.errors import UsageError
from optitrace.experiment.settings import Schedule
from optitrace.experiment.user_module import reason
from optitrace.tracing.stepping import note_step

Advance = Callable[[Tensor], None]
"""Updates the learning rate after a step that used this loss."""

BY_METRIC = "ReduceLROnPlateau"
"""The scheduler that uses the loss."""

CYCLING = ("CyclicLR", "OneCycleLR")
"""The schedulers that move the momentum as well, against the learning rate."""


def scheduling(schedule: Schedule, optimizer: Optimizer) -> Advance:
    """Create a torch scheduler for an optimizer; return the function that advances it.

    Raises:
        UsageError: torch refuses its arguments.
    """
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in schedule.arguments.items()}
    try:
        scheduler: Any = getattr(lr_scheduler, schedule.name)(optimizer, **arguments)
    except (TypeError, ValueError, AttributeError, ArithmeticError, KeyError) as error:
        raise UsageError(_refusal(schedule, error)) from error
    note_step(optimizer)

    def advance(loss: Tensor) -> None:
        try:
            scheduler.step(*([loss.item()] if schedule.name == BY_METRIC else []))
        except Exception as error:
            raise UsageError(
                f"the schedule {schedule} cannot continue: {reason(error)}; give it other arguments."
            ) from error

    return advance


def _refusal(schedule: Schedule, error: Exception) -> str:
    """Return the sentence for a schedule that cannot be put over an optimizer."""
    said = str(error.args[0]).partition("\n")[0].replace(f"{schedule.name}.__init__() ", "").rstrip(".:")
    if isinstance(error, KeyError) and said.isidentifier():
        return f"the optimizer has no {said} for a schedule to move; leave it out."
    return f"torch refuses the schedule {schedule}: {said}."


def scheduled_momentum(schedule: Schedule, group: dict[str, Any]) -> float | None:
    """Return the momentum that a step uses, if the scheduler moves it; for Adam, the first of betas."""
    if schedule.name not in CYCLING or not schedule.arguments.get("cycle_momentum", True):
        return None
    return float(group["betas"][0] if "betas" in group else group["momentum"])
