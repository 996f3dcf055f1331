from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from optitrace.records.trace import Column, Outcome, Status
from optitrace.tracing.recorder import Recorder
from optitrace.tracing.series import BLOCK

START = (0.5, -0.25)
EVERY = (1, 2, 3, 7, 1000, BLOCK, BLOCK + 1, 5000)
COUNTS = (0, 1, 2, 6, 7, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2500)


def loss_of(step: int) -> float:
    return step / 4


def weights_of(step: int) -> tuple[float, float]:
    return (float(step), -step / 8)


def state_of(step: int) -> dict[str, Any]:
    return {"step": torch.tensor(float(step)), "exp_avg": torch.tensor([step / 2, 0.0])}


def record(
    steps: int,
    *,
    every: int = 1,
    losses: Mapping[int, float] = {},
    weights: Mapping[int, float] = {},
    states: Mapping[int, Mapping[str, Any]] = {},
) -> Recorder:
    """Return a recorder of so many steps, some of whose values are others than usual."""
    recorder = Recorder(torch.tensor(START), every=every)
    for step in range(1, steps + 1):
        loss = torch.tensor(losses.get(step, loss_of(step)))
        recorder.before(loss, torch.tensor([step / 16, 1.0]), 0.1 * step)
        first, second = weights_of(step)
        recorder.after(torch.tensor([weights.get(step, first), second]), states.get(step, state_of(step)))
    return recorder


def rows(column: Column, count: int) -> list[tuple[float, ...] | None]:
    return [column.row(index) for index in range(count)]


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("count", COUNTS)
def test_the_start_every_kth_step_and_the_last_are_kept(count: int, every: int) -> None:
    kept = [step for step in range(count + 1) if step % every == 0 or step == count]
    steps, columns, *_, state = record(count, every=every).finish()

    assert list(steps) == kept
    assert rows(columns["loss"], len(kept)) == [None, *((loss_of(step),) for step in kept[1:])]
    assert rows(columns["gradient"], len(kept)) == [None, *((step / 16, 1.0) for step in kept[1:])]
    assert rows(columns["weights"], len(kept)) == [START, *(weights_of(step) for step in kept[1:])]
    assert rows(columns["lr"], len(kept)) == [None, *((0.1 * step,) for step in kept[1:])]
    assert list(state) == ([] if count == 0 else ["step", "exp_avg"])
    for name, expected in (("step", lambda k: (float(k),)), ("exp_avg", lambda k: (k / 2, 0.0))):
        if count:
            assert rows(state[name], len(kept)) == [None, *(expected(step) for step in kept[1:])]


def test_no_column_has_more_rows_than_there_are_steps() -> None:
    steps, columns, *_, state = record(BLOCK, every=1000).finish()

    assert list(steps) == [0, 1000, BLOCK]
    for column in (*columns.values(), *state.values()):
        assert len(column.values) == (len(steps) - column.first) * column.size


def test_numbers_are_those_of_the_moment_though_the_tensors_change_later() -> None:
    recorder = Recorder(torch.tensor(START))
    weights, moment = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    recorder.before(torch.tensor(1.0), weights, 0.1)
    recorder.after(weights, {"m": moment})
    weights.zero_()
    moment.zero_()
    _, columns, *_, state = recorder.finish()

    assert columns["gradient"].row(1) == columns["weights"].row(1) == (1.0, 2.0)
    assert state["m"].row(1) == (3.0, 4.0)


def test_a_step_that_was_begun_and_not_completed_is_left_out() -> None:
    recorder = record(2)
    recorder.before(torch.tensor(math.inf), torch.tensor([1.0, 1.0]), 0.1)
    steps, columns, *_ = recorder.finish()

    assert list(steps) == [0, 1, 2]
    assert columns["loss"].values == array("d", [loss_of(1), loss_of(2)])
    assert recorder.non_finite is None


@pytest.mark.parametrize("every", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("late", [2, 3, 4, 6, BLOCK, BLOCK + 1, BLOCK + 5])
def test_a_state_entry_that_appears_late_has_no_value_before(late: int, every: int) -> None:
    count = late + 6
    states = {
        step: state_of(step) | {"buffer": torch.tensor([1.0 * step])} for step in range(late, count + 1)
    }
    steps, *_, state = record(count, every=every, states=states).finish()

    expected = [None if step < late else (float(step),) for step in steps]
    assert rows(state["buffer"], len(steps)) == expected
    assert rows(state["step"], len(steps)) == [None, *((float(step),) for step in steps[1:])]


def test_a_state_entry_that_appears_with_the_last_step_alone_is_kept() -> None:
    steps, *_, state = record(4, every=3, states={4: {"late": 2.0}}).finish()

    assert list(steps) == [0, 3, 4]
    assert rows(state["late"], 3) == [None, None, (2.0,)]


def test_a_state_entry_that_vanishes_is_not_a_number_from_then_on() -> None:
    steps, *_, state = record(4, states={3: {}, 4: {}}).finish()

    assert rows(state["step"], 3) == [None, (1.0,), (2.0,)]
    assert [math.isnan(number) for row in (3, 4) for number in state["exp_avg"].row(row) or ()] == [True] * 4
    assert len(steps) == 5


def test_a_state_entry_that_is_none_is_left_out_until_it_is_not() -> None:
    states = {step: {"lazy": None if step < 3 else torch.tensor(5.0)} for step in (1, 2, 3)}
    *_, state = record(3, states=states).finish()

    assert rows(state["lazy"], 4) == [None, None, None, (5.0,)]
    assert "lazy" not in record(2, states=states).finish()[-1]


def test_a_state_entry_that_is_a_list_is_noted_by_its_length_and_whole_numbers_as_numbers() -> None:
    states = {
        step: {"old": [torch.zeros(2)] * step, "n": step, "count": torch.tensor(step), "on": True}
        for step in (1, 2)
    }
    *_, state = record(2, states=states).finish()

    assert {name: list(column.values) for name, column in state.items()} == {
        "old": [1.0, 2.0],
        "n": [1.0, 2.0],
        "count": [1.0, 2.0],
        "on": [1.0, 1.0],
    }


def test_a_matrix_is_recorded_row_by_row() -> None:
    recorder = Recorder(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    recorder.before(torch.tensor(1.0), torch.tensor([[5.0, 6.0], [7.0, 8.0]]), 0.1)
    recorder.after(torch.tensor([[1.0, 0.0], [0.0, 1.0]]).T, {})
    _, columns, *_ = recorder.finish()

    assert rows(columns["weights"], 2) == [(1.0, 2.0, 3.0, 4.0), (1.0, 0.0, 0.0, 1.0)]
    assert columns["gradient"].row(1) == (5.0, 6.0, 7.0, 8.0)


@pytest.mark.parametrize("every", [1, 100, 5000])
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("step", [1, 5, BLOCK, BLOCK + 1, BLOCK + 2, 1100])
def test_the_first_number_that_is_not_finite_is_found_in_kept_rows_and_in_others(
    step: int, bad: float, every: int
) -> None:
    recorder = record(1200, every=every, losses={step: bad, step + 1: bad}, weights={step + 1: bad})
    recorder.finish()

    assert recorder.non_finite == Outcome(Status.NON_FINITE, step, "loss")


def state_with(step: int, name: str) -> dict[str, Any]:
    return state_of(step) | {name: torch.full_like(state_of(step)[name], math.nan)}


@pytest.mark.parametrize(
    ("wrong", "quantity"),
    [
        ({"losses": {3: math.nan}, "weights": {3: math.inf}, "states": {3: state_with(3, "step")}}, "loss"),
        ({"weights": {3: math.inf}, "states": {3: state_with(3, "exp_avg")}}, "exp_avg"),
        ({"weights": {3: math.inf}}, "weights"),
        ({"weights": {3: math.inf}, "losses": {4: math.inf}}, "weights"),
    ],
    ids=str,
)
def test_of_one_step_the_quantity_that_comes_first_in_it_is_named(
    wrong: dict[str, Any], quantity: str
) -> None:
    recorder = record(5, **wrong)
    recorder.finish()

    assert recorder.non_finite == Outcome(Status.NON_FINITE, 3, quantity)


def test_an_earlier_step_counts_before_a_quantity_that_comes_earlier_in_it() -> None:
    recorder = record(5, losses={4: math.nan}, weights={2: math.inf})
    recorder.finish()

    assert recorder.non_finite == Outcome(Status.NON_FINITE, 2, "weights")


def test_an_earlier_block_counts_before_a_later_one() -> None:
    recorder = record(BLOCK + 5, losses={BLOCK + 1: math.nan}, weights={BLOCK: math.inf})
    recorder.finish()

    assert recorder.non_finite == Outcome(Status.NON_FINITE, BLOCK, "weights")


def test_a_gap_is_not_taken_for_a_number_that_is_not_finite() -> None:
    recorder = record(5, states={step: {} for step in (3, 4, 5)} | {1: {"late": 1.0}})
    recorder.finish()

    assert recorder.non_finite is None


def test_a_number_that_is_not_finite_is_found_beside_a_gap() -> None:
    recorder = record(5, states={3: {"late": 1.0}, 4: {"late": math.nan}})
    recorder.finish()

    assert recorder.non_finite == Outcome(Status.NON_FINITE, 4, "late")


@pytest.mark.parametrize("largest", [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -0.0])
def test_the_extremes_of_float64_are_finite(largest: float) -> None:
    recorder = Recorder(torch.zeros(1, dtype=torch.float64))
    recorder.before(torch.tensor(largest, dtype=torch.float64), torch.zeros(1), largest)
    recorder.after(torch.tensor([largest], dtype=torch.float64), {})
    _, columns, *_ = recorder.finish()

    assert recorder.non_finite is None
    assert repr(columns["loss"].row(1)) == repr((largest,))
