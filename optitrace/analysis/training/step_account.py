"""One step of a training, compared with the steps before it, and what made its update longer or shorter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optitrace.analysis.training.diagnoses.outliers import Deviation, deviation, greatest_of, outliers
from optitrace.analysis.training.diagnoses.step_size import step_exponents
from optitrace.errors import UsageError
from optitrace.records.findings import Diagnosis
from optitrace.records.training import OptimizerTrace, TrainingRecord

QUANTITIES = (
    "loss",
    "lr",
    "gradient_norm",
    "unclipped_gradient_norm",
    "update_norm",
    "weight_norm",
    "update_ratio",
)
"""The columns that are compared, as far as they were recorded; then the state's."""

FEWEST = 3
"""From how many rows before it on a number is compared."""

MOST_PARAMETERS = 5
"""Of how many parameters the gradients are compared: those that differ the most."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A number of a step, and how it stands to those before it.

    Attributes:
        name: of the column, or of the parameter.
        value: the number; the greatest where there is one for each group.
        stands: how it stands to the steps before; None if there are too few, or it is not positive.
    """

    name: str
    value: float
    stands: Deviation | None


@dataclass(frozen=True, slots=True)
class StepAccount:
    """A step of an optimizer.

    Attributes:
        optimizer: its name.
        step: the number of the step.
        kind: which kind of gradient it used.
        numbers: the numbers of the step.
        factors: by what the update is how many times as long as usual: the lr; and, by the rule, the gradient
            and the entries of the state. Empty if there are too few steps before.
        is_whole: whether gradient and state are among them, as the rule and the norms of the state are known.
        rest: how many times as long it is by all else.
        parameters: the gradients of those parameters that differ the most, where each was recorded.
    """

    optimizer: str
    step: int
    kind: str
    numbers: tuple[Compared, ...]
    factors: tuple[tuple[str, float], ...]
    is_whole: bool
    rest: float
    parameters: tuple[Compared, ...]


def accounts_of(training: TrainingRecord, step: int) -> tuple[StepAccount, ...]:
    """Return what there is to tell of a step, of each optimizer that has it.

    Raises:
        UsageError: no optimizer has recorded that step.
    """
    found = tuple(_account(o, list(o.steps).index(step)) for o in training.optimizers if step in o.steps)
    if not found:
        steps = sorted({each for optimizer in training.optimizers for each in optimizer.steps})
        recorded = f"recorded are steps {steps[0]} to {steps[-1]}" if steps else "no step was recorded"
        raise UsageError(f"step {step} was not recorded; {recorded}.")
    return found


def concerns(diagnosis: Diagnosis, step: int) -> bool:
    """Return whether a diagnosis is of a step, or of an earlier one that the state still remembers."""
    first = diagnosis.step
    return first is not None and first <= step <= diagnosis.numbers.get("until", first)


def _account(optimizer: OptimizerTrace, row: int) -> StepAccount:
    numbers = tuple(_compared(optimizer, row))
    factors, is_whole = _factors(optimizer, numbers)
    update = next((one.stands for one in numbers if one.name == "update_norm"), None)
    explained = math.prod(factor for _, factor in factors)
    return StepAccount(
        optimizer.name,
        optimizer.steps[row],
        optimizer.kind(row),
        numbers,
        factors,
        is_whole,
        update.factor / explained if update is not None and factors else 1.0,
        _parameters(optimizer, row),
    )


def _compared(optimizer: OptimizerTrace, row: int) -> Iterator[Compared]:
    for name in QUANTITIES:
        if name in optimizer.columns:
            yield _one(name, greatest_of(optimizer, name), row)
    for name, column in optimizer.state.items():
        rows = (column.row(each) for each in range(len(optimizer.steps)))
        compared = _one(name, [max(values) if values else math.nan for values in rows], row)
        if compared.value != optimizer.steps[row]:  # a counter of the steps
            yield compared


def _one(name: str, numbers: Sequence[float], row: int) -> Compared:
    return Compared(
        name, numbers[row], deviation(numbers, row, outliers(numbers).keys() - {row}, fewest=FEWEST)
    )


def _factors(
    optimizer: OptimizerTrace, numbers: Sequence[Compared]
) -> tuple[tuple[tuple[str, float], ...], bool]:
    """Return by what an update is how many times as long as usual, and whether the rule's share is in it."""
    known = {one.name: one.stands for one in numbers}
    lr = known.get("lr")
    if known.get("update_norm") is None or lr is None:
        return (), False
    powers = step_exponents(optimizer)
    shares = [
        (name, stands.factor**power)
        for name, power in powers.items()
        if (stands := known.get("gradient_norm" if name == "gradient" else name)) is not None
    ]
    is_whole = bool(powers) and len(shares) == len(powers)
    return (("lr", lr.factor), *(shares if is_whole else ())), is_whole


def _parameters(optimizer: OptimizerTrace, row: int) -> tuple[Compared, ...]:
    column = optimizer.by_parameter.get("gradient_norm")
    if column is None:
        return ()
    each = [column.row(k) or () for k in range(len(optimizer.steps))]
    compared = [
        _one(name, [values[place] if place < len(values) else math.nan for values in each], row)
        for place, name in enumerate(optimizer.recorded_parameters)
    ]
    by_difference = sorted(
        compared, key=lambda one: -abs(math.log(one.stands.factor)) if one.stands is not None else 0.0
    )
    return tuple(by_difference[:MOST_PARAMETERS])
