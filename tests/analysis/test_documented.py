from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optitrace.analysis.documented import CELLS, Cell, Printed, agrees, cells_like, reproduce
from optitrace.experiment.experiment import Experiment, design

# what the document prints, cell by cell: the gradient and the weights as they come
DOCUMENT: dict[int, list[tuple[str, tuple[float, float]]]] = {
    9: [("gradient", (1.0, 2.0)), ("weights", (0.5, 0.5)), ("weights", (0.49, 0.48))],
    10: [
        ("gradient", (1.0, 2.0)),
        ("weights", (0.5, 0.5)),
        ("weights", (0.49, 0.48)),
        ("weights", (0.48, 0.46)),
    ],
    # before its second step the cell prints the weights of the first once more
    14: [
        ("gradient", (1.0, 2.0)),
        ("weights", (0.5, 0.5)),
        ("weights", (0.49, 0.48)),
        ("gradient", (0.98, 1.92)),
        ("weights", (0.4802, 0.4608)),
    ],
    15: [
        ("gradient", (1.0, 2.0)),
        ("weights", (0.5, 0.5)),
        ("weights", (0.485, 0.475)),
        ("weights", (0.4702, 0.4502)),
    ],
    16: [
        ("gradient", (1.0, 2.0)),
        ("weights", (0.5, 0.5)),
        ("weights", (0.49, 0.48)),
        ("weights", (0.479, 0.458)),
    ],
    17: [
        ("gradient", (1.0, 2.0)),
        ("weights", (0.5, 0.5)),
        ("weights", (0.49, 0.49)),
        ("gradient", (0.98, 1.96)),
        ("weights", (0.483, 0.483)),
    ],
}

EVERY = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"cell {cell.number}")


def numbers(cells: list[Cell]) -> list[int]:
    return [cell.number for cell in cells]


def test_every_cell_that_steps_an_optimizer_is_there_with_all_that_it_prints() -> None:
    printed = {cell.number: [(p.quantity, p.numbers) for p in cell.prints] for cell in CELLS}

    assert printed == DOCUMENT


@EVERY
def test_a_cell_is_reproduced(cell: Cell) -> None:
    reproduction = reproduce(cell)

    assert reproduction.agrees
    assert reproduction.numbers == pytest.approx(DOCUMENT[cell.number][-1][1], abs=5e-5)


def with_number(cell: Cell, printed: int, coordinate: int) -> Cell:
    """Return the cell with a number that it prints one higher in the last of the four decimals."""
    before = cell.prints[printed]
    changed = list(before.numbers)
    changed[coordinate] += 1e-4
    wrong = replace(before, numbers=(changed[0], changed[1]))
    return replace(cell, prints=(*cell.prints[:printed], wrong, *cell.prints[printed + 1 :]))


@EVERY
def test_any_number_of_a_cell_that_is_wrong_is_noticed(cell: Cell) -> None:
    places = [(printed, coordinate) for printed in range(len(cell.prints)) for coordinate in (0, 1)]

    assert [place for place in places if reproduce(with_number(cell, *place)).agrees] == []


@pytest.mark.parametrize(
    ("number", "changed"),
    [
        (10, {"gradient": "fresh"}),
        (14, {"gradient": "stale"}),
        (14, {"gradient": "accumulated"}),
        (15, {"gradient": "fresh"}),
        (16, {"gradient": "fresh"}),
        (17, {"gradient": "stale"}),
        (17, {"optimizer": "sgd"}),
        (15, {"hyperparameters": {"weight_decay": 0.9}}),
        (16, {"hyperparameters": {}}),
    ],
    ids=str,
)
def test_a_cell_run_otherwise_than_the_document_does_is_not_reproduced(
    number: int, changed: dict[str, Any]
) -> None:
    [cell] = [cell for cell in CELLS if cell.number == number]

    assert not reproduce(replace(cell, **changed)).agrees


def test_a_cell_takes_as_many_steps_as_it_prints_and_shows_its_last_weights() -> None:
    assert [cell.steps for cell in CELLS] == [1, 2, 2, 2, 2, 2]
    assert [cell.last.numbers for cell in CELLS] == [DOCUMENT[cell.number][-1][1] for cell in CELLS]
    assert all(cell.last == Printed("weights", cell.steps, cell.last.numbers) for cell in CELLS)


@pytest.mark.parametrize(
    ("ours", "printed", "expected"),
    [
        (0.48004999756813049, 0.48, True),
        (0.47995001077651978, 0.48, True),
        (0.48006, 0.48, False),
        (0.4799, 0.48, False),
        (float("nan"), 0.48, False),
    ],
)
def test_numbers_agree_where_they_print_the_same_four_decimals(
    ours: float, printed: float, expected: bool
) -> None:
    assert agrees(ours, printed) is expected


@pytest.mark.parametrize(
    ("experiment", "like"),
    [
        (design("sgd"), [14, 10]),
        (design("sgd", steps=1), [14, 10]),
        (design("sgd", gradient="stale"), [14, 10]),
        (design("sgd", {"momentum": 0.1}, steps=2), [16]),
        (design("sgd", {"momentum": 0.1}, steps=2, gradient="stale"), [16]),
        (design("sgd", {"weight_decay": 1.0}, steps=500), [15]),
        (design("adagrad"), [17]),
        (design("sgd", {"momentum": 0.1}, dtype="float64", device="cuda", implementation="single"), [16]),
        (design("sgd", {"lr": 0.01}, coefficients=(1, 2), start=(0.5, 0.5)), [14, 10]),
        (design("sgd", steps=0), []),
        (design("sgd", dtype="bfloat16"), []),
        (design("sgd", dtype="float16"), []),
        (design("sgd", {"lr": 0.02}), []),
        (design("sgd", {"momentum": 0.2}), []),
        (design("sgd", {"momentum": 0.1, "weight_decay": 1.0}), []),
        (design("sgd", start=(0.5, 0.25)), []),
        (design("sgd", coefficients=(1, 2.5)), []),
        (design("sgd", coefficients=(1, 2, 3)), []),
        (design("adagrad", {"lr_decay": 0.1}), []),
        (design("adam"), []),
    ],
)
def test_the_cells_like_a_run_are_those_of_its_settings(experiment: Experiment, like: list[int]) -> None:
    assert numbers(cells_like(experiment)) == like
