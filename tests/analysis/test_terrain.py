"""What of a run is shown, and the loss around it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from optitrace.analysis.loss_grid import frame, rows_before_flight, rows_of_interest, terrain
from optitrace.experiment.experiment import design
from optitrace.records.trace import TraceRecord
from optitrace.tracing.tracer import trace


def run(optimizer: str = "sgd", steps: int = 10, lr: float = 0.01, **settings: Any) -> TraceRecord:
    return trace(design(optimizer, {"lr": lr}, steps=steps, dtype="float64", **settings))


@pytest.mark.parametrize(
    ("distances", "rows"),
    [
        ([0.0], 1),
        ([0.0, 1e30], 2),  # too short to tell what is usual
        ([0.0, 5.0, 5.0, 5.0, 5.0], 5),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 30.0], 8),  # ten times as far as the third, and no farther
        ([0.0, 1.0, 2.0, 3.0, 31.0, 5.0, 6.0, 7.0], 4),
        ([0.0, 0.0, 0.0, 0.0, 1.0], 5),  # what stands still at first has no scale to be far by
        ([float(2**k) for k in range(32)], 4),
    ],
)
def test_rows_that_go_ten_times_as_far_as_the_first_half_are_left_out(
    distances: list[float], rows: int
) -> None:
    assert rows_before_flight(distances) == rows


def test_what_is_near_is_never_far_whatever_the_first_half_did() -> None:
    distances = [0.0, 0.01, 0.02, 0.03, 3.0, 3.0, 3.0, 3.0]

    assert rows_before_flight(distances, near=0.3) == 8
    assert rows_before_flight(distances, near=0.2) == 4


def test_a_converging_run_is_shown_whole_and_a_diverging_one_at_its_beginning() -> None:
    assert rows_of_interest(run(steps=200, lr=0.1)) == 201
    assert rows_of_interest(run(steps=300, lr=0.6)) < 12


def test_a_run_that_falls_from_a_plateau_late_is_shown_whole() -> None:
    late = run(steps=400, lr=0.5, objective="plateau")

    assert math.dist(late.weights.row(400) or (), (2.5, 2.5)) > 3
    assert rows_of_interest(late) == 401


def test_the_frame_holds_the_path_and_the_minimum_on_one_scale() -> None:
    # two documented steps end at (0.48, 0.46); the minimum is the origin: 0 to 0.5, and 8 % around
    for interval in frame([run(steps=2)]):
        assert (interval.low, interval.high) == pytest.approx((-0.04, 0.54))


def test_a_minimum_that_is_thirty_times_as_far_as_the_path_is_long_is_left_out() -> None:
    near, far = run(steps=1, lr=0.02, coefficients=(1, 1)), run(steps=1, lr=0.01, coefficients=(1, 1))
    # a step of lr leads lr·2 of the way
    assert 0.0 in frame([near])[0]
    assert 0.0 not in frame([far])[0]


def test_coordinates_of_very_different_extent_have_a_scale_each() -> None:
    wide = run(steps=3, start=(1.0, 1000.0))
    alike = run(steps=3, start=(1.0, 5.0))

    assert [round(i.extent / 1.16, 6) for i in frame([wide])] == [1.0, 1000.0]
    assert [round(i.extent / 1.16, 6) for i in frame([alike])] == [5.0, 5.0]


def test_a_run_that_stays_where_it_is_has_room_around_it() -> None:
    assert [i.extent for i in frame([run(start=(0.0, 0.0))])] == pytest.approx([2.32, 2.32])
    assert frame([run(steps=0, objective="saddle")])[0].extent == pytest.approx(1.16 * 3)


def test_of_runs_that_diverge_beside_others_only_the_start_counts() -> None:
    good, bad = run(steps=50, lr=0.1), run(steps=50, lr=0.6)

    assert frame([good, bad]) == frame([good])
    assert frame([bad])[1].extent > frame([good])[1].extent


def test_numbers_at_the_end_of_all_numbers_still_have_a_frame() -> None:
    for interval in frame([run(steps=2, start=(1e154, -1e154)), run(steps=1, lr=1e300)]):
        assert math.isfinite(interval.extent)
        assert interval.extent > 0


def test_the_terrain_is_the_loss_at_each_point() -> None:
    found = terrain([run(steps=5, lr=0.1)])
    assert found is not None
    xs, ys = found.axes

    assert (xs[0], xs[-1]) == pytest.approx((found.frame[0].low, found.frame[0].high))
    for row, column in ((0, 0), (3, 70), (100, 20)):
        assert found.losses[row][column] == pytest.approx(xs[column] ** 2 + 2 * ys[row] ** 2, rel=1e-15)


def test_one_coordinate_has_a_row_of_losses() -> None:
    found = terrain([run(coefficients=(3,))])
    assert found is not None
    ([xs], [losses]) = found.axes, found.losses

    assert losses == pytest.approx([3 * x * x for x in xs], rel=1e-15)


def test_three_coordinates_and_two_losses_have_no_terrain() -> None:
    assert terrain([run(dimension=3)]) is None
    assert terrain([run(), run(coefficients=(1, 3))]) is None


def test_a_function_that_branches_is_asked_point_by_point(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def loss(w):\n    return (w * w).sum() if w.detach()[0] > 0 else (2 * w * w).sum()\n")
    found = terrain([run(objective=f"{path}:loss")])
    assert found is not None
    x, y = found.axes[0][0], found.axes[1][0]

    assert found.losses[0][0] == pytest.approx((1 if x > 0 else 2) * (x * x + y * y))


def test_a_function_that_is_gone_leaves_a_terrain_of_which_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "own_gone.py"
    path.write_text("def loss(w):\n    return (w * w).sum()\n")
    traced = run(objective=f"{path}:loss")
    path.unlink()
    found = terrain([traced])

    assert found is not None
    assert all(math.isnan(loss) for row in found.losses for loss in row)
