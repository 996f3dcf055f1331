"""The documented experiment: the cells of the document, run again and compared, result by result.

The document steps an optimizer on loss = w1² + 2·w2² from (0.5, 0.5) with torch 2.5.1 and prints four
decimals. Its cells differ in the optimizer and in the gradient protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optitrace.experiment.experiment import Experiment, design
from optitrace.records.trace import TraceRecord

DECIMALS = 4
"""The number of decimals in the document."""


@dataclass(frozen=True, slots=True)
class Printed:
    """Numbers that the document prints: a quantity at a step, both coordinates."""

    quantity: str
    step: int
    numbers: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the document that steps an optimizer.

    Attributes:
        number: the cell's number.
        shows: a short description.
        optimizer: the optimizer.
        gradient: the gradient protocol that the cell's code amounts to.
        prints: the printed numbers.
        remark: the lesson of the cell.
        hyperparameters: those that are not the default.
    """

    number: int
    shows: str
    optimizer: str
    gradient: str
    prints: tuple[Printed, ...]
    remark: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """The number of steps of the cell."""
        return max(printed.step for printed in self.prints)

    @property
    def last(self) -> Printed:
        """The last weights that the cell prints."""
        return [printed for printed in self.prints if printed.quantity == "weights"][-1]

    def experiment(self) -> Experiment:
        """Return the cell as an experiment, for the CPU, where the document ran."""
        return design(self.optimizer, self.hyperparameters, gradient=self.gradient, steps=self.steps)


START = (Printed("gradient", 1, (1.0, 2.0)), Printed("weights", 0, (0.5, 0.5)))


CELLS = (
    Cell(
        9,
        "one step of SGD",
        "sgd",
        "fresh",
        (*START, Printed("weights", 1, (0.49, 0.48))),
        "The whole rule of plain SGD: each weight loses lr times its gradient.",
    ),
    Cell(
        10,
        "SGD, step() twice",
        "sgd",
        "stale",
        (*START, Printed("weights", 1, (0.49, 0.48)), Printed("weights", 2, (0.48, 0.46))),
        "step() does not look at the loss: without a new backward() it repeats the old gradient.",
    ),
    Cell(
        14,
        "SGD, gradient renewed",
        "sgd",
        "fresh",
        (
            *START,
            Printed("weights", 1, (0.49, 0.48)),
            Printed("gradient", 2, (0.98, 1.92)),
            Printed("weights", 2, (0.4802, 0.4608)),
        ),
        "Training: clear, evaluate at the new weights, step. A clone() of a weight in the loss copies "
        "its value and passes its gradient through, so it changes nothing.",
    ),
    Cell(
        15,
        "SGD with weight decay",
        "sgd",
        "stale",
        (*START, Printed("weights", 1, (0.485, 0.475)), Printed("weights", 2, (0.4702, 0.4502))),
        "The printed gradient holds no weight decay: backward() knows the loss alone, and the "
        "optimizer adds weight_decay times the weight inside step().",
        {"weight_decay": 1.0},
    ),
    Cell(
        16,
        "SGD with momentum",
        "sgd",
        "stale",
        (*START, Printed("weights", 1, (0.49, 0.48)), Printed("weights", 2, (0.479, 0.458))),
        "The first step is that of plain SGD, since the buffer begins as the gradient; the second adds "
        "a tenth of the first.",
        {"momentum": 0.1},
    ),
    Cell(
        17,
        "Adagrad",
        "adagrad",
        "fresh",
        (
            *START,
            Printed("weights", 1, (0.49, 0.49)),
            Printed("gradient", 2, (0.98, 1.96)),
            Printed("weights", 2, (0.483, 0.483)),
        ),
        "Adagrad's first step is lr in every coordinate: each gradient is divided by its own size.",
    ),
)
"""Every cell of the document that steps an optimizer."""


def cells_like(experiment: Experiment) -> list[Cell]:
    """Return the cells whose settings a run has; the last of several that step alike.

    The gradient protocol and the number of steps may differ, as may device, implementation and a dtype
    whose rounding does not show at the decimals that the document prints.
    """
    if experiment.steps == 0 or experiment.dtype not in ("float32", "float64"):
        return []
    own = _settings(experiment)
    return list({cell.gradient: cell for cell in CELLS if _settings(cell.experiment()) == own}.values())


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A cell that was run again.

    Attributes:
        cell: the cell.
        numbers: the last weights, where the cell prints its own.
        agrees: whether everything that the cell prints came out the same, at its decimals.
    """

    cell: Cell
    numbers: tuple[float, ...]
    agrees: bool


def reproduce(cell: Cell) -> Reproduction:
    """Run a cell again."""
    from optitrace.tracing.tracer import trace

    traced = trace(cell.experiment())
    same = all(all(map(agrees, measured(traced, printed), printed.numbers)) for printed in cell.prints)
    return Reproduction(cell, measured(traced, cell.last), same)


def agrees(ours: float, printed: float) -> bool:
    """Return whether a number agrees with the document's to its decimals."""
    return f"{ours:.{DECIMALS}f}" == f"{printed:.{DECIMALS}f}"


def as_printed(numbers: Sequence[float]) -> str:
    """Return numbers at the decimals that the document prints.

    >>> as_printed((0.5, 0.25))
    '(0.5000, 0.2500)'
    """
    return f"({', '.join(f'{number:.{DECIMALS}f}' for number in numbers)})"


def measured(trace: TraceRecord, printed: Printed) -> tuple[float, ...]:
    """Return the numbers of a trace that stand where the document prints its own."""
    row = trace.columns[printed.quantity].row(trace.steps.index(printed.step))
    assert row is not None
    return row


@dataclass(frozen=True, slots=True)
class Result:
    """One result of the document.

    Attributes:
        cell: the cell's number.
        shows: what the cell shows.
        document: what the document prints.
        ours: what this installation gives.
        agree: whether they are the same at the document's decimals; None for what belongs to the
            document's own installation, as its version and its random numbers.
    """

    cell: int
    shows: str
    document: str
    ours: str
    agree: bool | None


def results() -> list[Result]:
    """Reproduce every result of the document."""
    return [*_tensor_basics(), *(result for cell in CELLS for result in _of_cell(cell))]


def _settings(experiment: Experiment) -> Experiment:
    """Return the settings of a run without those that may differ: protocol, steps, dtype, device, ..."""
    return replace(experiment, gradient="", steps=0, dtype="", device="", implementation="")


def _tensor_basics() -> Iterator[Result]:
    import torch

    scalar = torch.tensor(7)
    vector = torch.tensor([7, 7])
    random = torch.rand(size=(3, 4))
    yield Result(1, "torch's version", "2.5.1", torch.__version__, None)
    yield _judged(2, "a scalar", "tensor(7)", repr(scalar))
    yield _judged(3, "its number of dimensions", "0", str(scalar.ndim))
    yield _judged(4, "its value in Python", "7", str(scalar.item()))
    yield _judged(5, "a vector", "tensor([7, 7])", repr(vector))
    yield Result(7, "a random tensor, first number", "0.5473", f"{random[0, 0]:.{DECIMALS}f}", None)
    yield _judged(7, "its shape", "3 by 4", " by ".join(map(str, random.shape)))
    yield _judged(7, "its dtype", "torch.float32", str(random.dtype))


def _judged(cell: int, shows: str, document: str, ours: str) -> Result:
    return Result(cell, shows, document, ours, document == ours)


def _of_cell(cell: Cell) -> Iterator[Result]:
    from optitrace.tracing.tracer import trace

    traced = trace(cell.experiment())
    for printed in cell.prints:
        numbers = measured(traced, printed)
        moment = "at the start" if printed.step == 0 else f"at step {printed.step}"
        if printed.quantity == "weights" and printed.step:
            moment = f"after step {printed.step}"
        yield Result(
            cell=cell.number,
            shows=f"{cell.shows}: {printed.quantity} {moment}",
            document=as_printed(printed.numbers),
            ours=as_printed(numbers),
            agree=all(map(agrees, numbers, printed.numbers)),
        )
