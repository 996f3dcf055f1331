"""Schedulers of torch over an optimizer that is stepped without torch's wrappers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from optitrace.errors import UsageError
from optitrace.experiment.schedule import Schedule

Advance = Callable[[Tensor], None]
"""Moves the learning rate after a step that used this loss."""

BY_METRIC = "ReduceLROnPlateau"
"""The scheduler that looks at the loss."""

CYCLING = ("CyclicLR", "OneCycleLR")
"""The schedulers that move the momentum as well, against the learning rate."""


def scheduling(schedule: Schedule, optimizer: Optimizer) -> Advance:
    """Put a scheduler of torch over an optimizer; return what advances it.

    Raises:
        UsageError: torch refuses its arguments.
    """
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in schedule.arguments.items()}
    try:
        scheduler: Any = getattr(lr_scheduler, schedule.name)(optimizer, **arguments)
    except KeyError as error:
        raise UsageError(
            f"the optimizer has no {error.args[0]} for a schedule to move; leave it out."
        ) from error
    except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        reason = str(error).replace(f"{schedule.name}.__init__() ", "").rstrip(".")
        raise UsageError(f"torch refuses the schedule {schedule}: {reason}.") from error
    # what torch's own wrapper of step() notes, so that the scheduler does not warn that none was taken
    optimizer._opt_called = True  # type: ignore[attr-defined]
    if schedule.name == BY_METRIC:
        return lambda loss: scheduler.step(loss.item())
    return lambda loss: scheduler.step()


def scheduled_momentum(schedule: Schedule, group: dict[str, Any]) -> float | None:
    """Return the momentum that a step uses, if the scheduler moves it; for Adam, the first of betas."""
    if schedule.name not in CYCLING or not schedule.arguments.get("cycle_momentum", True):
        return None
    return float(group["betas"][0] if "betas" in group else group["momentum"])
