"""The rows of an optimizer's trace that diagnoses look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from optitrace.records.training import OptimizerTrace

MOST_ROWS = 2000
"""The largest number of rows that are looked at; they are evenly spread."""

FIRST_ROWS = 10
"""The number of rows of the beginning, where gradients can be large and weights zero."""

SMALL_LR = 0.1
"""The part of the largest lr below which a step belongs to a warm-up, or to the end of a schedule."""

SMALL_GRADIENT = 1e-3
"""The part of the first gradients' norm below which a training has arrived and need not move any more."""


def number(optimizer: OptimizerTrace, column: str, row: int) -> float:
    """Return the number of a row, the largest where there is one for each parameter group; NaN if none."""
    values = optimizer.columns[column].row(row) if column in optimizer.columns else None
    return max(values) if values else math.nan


def spread(optimizer: OptimizerTrace) -> range:
    """Return the rows to look at: all, or evenly spread ones where there are more than `MOST_ROWS`."""
    rows = len(optimizer.steps)
    return range(0, rows, max(1, math.ceil(rows / MOST_ROWS)))


def largest(numbers: Iterator[float]) -> float:
    """Return the largest finite number; 0 if there is none."""
    return max((n for n in numbers if math.isfinite(n)), default=0.0)


def largest_lr(optimizer: OptimizerTrace) -> float:
    """Return the largest lr of all rows; 0 if the optimizer has none."""
    return largest(number(optimizer, "lr", row) for row in spread(optimizer))


def is_at_work(optimizer: OptimizerTrace) -> Callable[[int], bool]:
    """Return a predicate on rows: whether their step was meant to move the weights.

    It was not if its lr is far below the largest, or is zero in a group; if its gradient is far below the
    first ones; or if a GradScaler left it out. Small updates there are no fault.
    """
    least_lr = SMALL_LR * largest_lr(optimizer)
    beginning = range(min(FIRST_ROWS, len(optimizer.steps)))
    first_norm = largest(number(optimizer, "gradient_norm", row) for row in beginning)

    def at_work(row: int) -> bool:
        lrs = optimizer.columns["lr"].row(row) or (0.0,)
        return (
            optimizer.kind(row) != "skipped"
            and max(lrs) >= least_lr
            and min(lrs) > 0
            and number(optimizer, "gradient_norm", row) > SMALL_GRADIENT * first_norm
        )

    return at_work
