"""The whole document, result by result: what it prints, what this torch gives, whether they agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from optitrace.analysis.documented import CELLS, DECIMALS, Cell, agrees, as_printed, measured
from optitrace.tracing.tracer import trace


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


def _tensor_basics() -> Iterator[Result]:
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
