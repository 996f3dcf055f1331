"""What a scene is made of: lines that are cut and thinned, scales, contour lines, frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optitrace.analysis.loss_grid import Interval, LossGrid
from optitrace.views.pictures.polylines import (
    TOLERANCE,
    Course,
    curves,
    cut,
    paths,
    thinned_curve,
    thinned_path,
)
from optitrace.views.pictures.run_scenes import LEVELS, contour
from optitrace.views.pictures.scene import (
    Axis,
    Kind,
    Line,
    Mark,
    Panel,
    Position,
    Scene,
    Stroke,
    axis_of,
    frame_steps,
    linear_axis,
)

ACROSS, UP = Axis("x", 0.0, 10.0), Axis("y", 0.0, 10.0)
NAN = math.nan


def strokes_of(*points: Position) -> list[tuple[list[Position], bool, bool]]:
    found = cut(range(len(points)), points, ACROSS, UP)
    return [([*map(_near, stroke.points)], stroke.begins_cut, stroke.ends_cut) for stroke in found]


def _near(point: Position) -> Position:
    return round(point[0], 9), round(point[1], 9)


def test_a_line_inside_stays_as_it_is() -> None:
    assert strokes_of((0, 0), (5, 10), (10, 3)) == [([(0, 0), (5, 10), (10, 3)], False, False)]


def test_a_line_that_leaves_is_cut_at_the_edge() -> None:
    assert strokes_of((5, 5), (15, 5)) == [([(5, 5), (10, 5)], False, True)]


def test_a_line_that_comes_back_begins_anew_at_the_edge() -> None:
    assert strokes_of((5, 5), (5, 20), (8, 20), (8, 5)) == [
        ([(5, 5), (5, 10)], False, True),
        ([(8, 10), (8, 5)], True, False),
    ]


def test_a_line_between_two_points_outside_is_drawn_where_it_crosses() -> None:
    assert strokes_of((-5, 5), (15, 5)) == [([(0, 5), (10, 5)], True, True)]
    assert strokes_of((-5, 5), (5, 20)) == []


def test_what_is_not_a_number_breaks_a_line() -> None:
    assert strokes_of((1, 1), (NAN, 2), (3, 3), (4, 4)) == [
        ([(1, 1)], False, False),
        ([(3, 3), (4, 4)], False, False),
    ]


def test_what_is_infinite_leaves_in_its_direction() -> None:
    [(points, _, ends_cut)] = strokes_of((5, 5), (5, math.inf))

    assert (points, ends_cut) == ([(5, 5), (5, 10)], True)


def test_a_cut_is_where_a_logarithmic_axis_has_it() -> None:
    # from 1 to 10⁴ in two decades more than the axis has: the edge, 100, is half way
    [stroke] = cut([0, 1], [(0, 1.0), (10, 1e4)], ACROSS, Axis("loss", 1.0, 100.0, is_logarithmic=True))

    assert stroke.points[-1] == pytest.approx((5.0, 100.0))


ANYWHERE = st.floats(allow_subnormal=False)  # a tenth of the least subnormal one is zero


@given(st.lists(st.tuples(ANYWHERE, ANYWHERE), max_size=12))
def test_nothing_is_drawn_outside_and_every_point_inside_is(points: list[Position]) -> None:
    strokes = cut(range(len(points)), points, ACROSS, UP)
    drawn = [point for stroke in strokes for point in stroke.dots]

    assert all(0 <= x <= 10 and 0 <= y <= 10 for stroke in strokes for x, y in stroke.points)
    assert drawn == [(x, y) for x, y in points if 0 <= x <= 10 and 0 <= y <= 10]


SHARES = st.lists(st.tuples(*[st.floats(0, 1) | st.floats(0, 0.003)] * 2), min_size=1, max_size=200)


@given(SHARES)
def test_no_step_that_is_left_out_is_far_from_one_that_is_kept(shares: list[Position]) -> None:
    kept = thinned_path(shares)

    assert kept[0] == 0
    assert kept[-1] == len(shares) - 1
    assert all(min(math.dist(point, shares[k]) for k in kept) <= TOLERANCE for point in shares)


def test_a_path_that_runs_to_and_fro_is_still_seen_wherever_it_was() -> None:
    # a lattice of 400 by 400 points, in an order that leaps
    shares = [((k * 97 % 400 + 0.5) / 400, (k * 89 // 400 % 400 + 0.5) / 400) for k in range(160_000)]
    kept = thinned_path(shares, most=6000)
    # cells of 1/800 are doubled until 6000 are enough: 1/50
    seen = {(int(x * 50), int(y * 50)) for x, y in (shares[k] for k in kept)}

    assert len(kept) <= 6001
    assert seen == {(int(x * 50), int(y * 50)) for x, y in shares}
    assert len(seen) == 2500


@given(st.lists(st.floats(-5, 5), min_size=50, max_size=400))
def test_each_column_of_pixels_keeps_its_least_and_its_greatest(ys: list[float]) -> None:
    columns = 10
    xs = range(len(ys))
    kept = thinned_curve(xs, ys, columns)
    width = (len(ys) - 1) / columns

    def extremes(rows: Sequence[int]) -> dict[int, tuple[float, float]]:
        found: dict[int, tuple[float, float]] = {}
        for k in rows:
            column = min(int(k / width), columns - 1)
            low, high = found.get(column, (ys[k], ys[k]))
            found[column] = min(low, ys[k]), max(high, ys[k])
        return found

    assert len(kept) <= 4 * columns
    assert kept == sorted(set(kept))
    assert extremes(kept) == extremes(xs)


@pytest.mark.parametrize(
    ("columns", "is_logarithmic"),
    [
        ([[1.0, 0.011]], False),
        ([[1.0, 0.009]], True),
        ([[1.0, 0.5], [1e-6]], True),
        ([[1.0, -1e-9, 1e-9]], False),
        ([[1.0, 0.0, 1e-9]], True),
        ([[5.0, 5.0]], False),
        ([[0.0, 0.0]], False),
        ([[]], False),
        ([[NAN, math.inf]], False),
    ],
)
def test_an_axis_is_logarithmic_where_its_numbers_span_more_than_two_decades(
    columns: list[list[float]], is_logarithmic: bool
) -> None:
    axis = axis_of("loss", columns)

    assert axis.is_logarithmic == is_logarithmic
    assert axis.low < axis.high
    assert all(axis.low <= x <= axis.high for column in columns for x in column if 0 < x < math.inf)


def test_a_curve_that_runs_away_has_no_say_beside_others() -> None:
    tame, wild = [4.0, 3.0, 2.0, 1.0], [4.0, 40.0, 400.0, 4e30]

    assert axis_of("loss", [tame, wild]) == axis_of("loss", [tame])
    assert axis_of("loss", [wild]).high > 4e30
    assert axis_of("loss", [[4.0, 3.0, 2.0, NAN], tame]) == axis_of("loss", [tame])


def test_a_curve_below_zero_that_runs_away_shows_its_beginning() -> None:
    axis = axis_of("loss", [[1.0, 0.0, -1.0, -2.0, -1e3, -1e6, -1e9, -1e12]])

    # the first four lie between 1 and -2; 5 % of 3 is free on both sides
    assert (axis.low, axis.high) == pytest.approx((-2.15, 1.15))


def test_several_curves_show_sixteen_decades() -> None:
    axis = axis_of("loss", [[1.0, 1e-30], [1.0, 1e-3]])

    assert math.log10(axis.high / axis.low) == pytest.approx(16 * 1.1)


def test_level_lines_of_a_bowl_are_equally_far_apart() -> None:
    axis = tuple(k / 100 - 1 for k in range(201))
    bowl = LossGrid(
        (Interval(-1, 1), Interval(-1, 1)), (axis, axis), [[x * x + y * y for x in axis] for y in axis]
    )
    radii = [math.sqrt(level) for level in contour(bowl).levels]

    # the circle that holds the share ((k − ½)/12)² of the square of area 4 has the radius (k − ½)/12·√(4/π)
    inside = [r for r in radii if r < 1]
    assert len(radii) == LEVELS
    assert inside == pytest.approx(
        [(k + 0.5) / 12 * math.sqrt(4 / math.pi) for k in range(len(inside))], abs=0.01
    )


@pytest.mark.parametrize("loss", [1.0, NAN, math.inf])
def test_a_loss_that_is_the_same_everywhere_or_nowhere_known_has_no_level_lines(loss: float) -> None:
    flat = LossGrid((Interval(0, 1), Interval(0, 1)), ((0.0, 1.0), (0.0, 1.0)), [[loss, loss], [loss, loss]])

    assert contour(flat).levels == ()


def test_a_path_that_leaves_for_good_is_marked_at_the_edge_with_the_step() -> None:
    course = Course("", range(5), [(5, 5), (12, 5), (5, 6), (5, 20), (5, -20)])
    [line], marks = paths([course], ACROSS, UP)

    # step 1 leaves and comes back; step 3 does not; what step 4 crosses again is not drawn
    assert [stroke.steps for stroke in line.strokes] == [(0, 1), (1, 2, 3)]
    assert marks == (Mark(Kind.LEAVES, (5, 10), "step 3", 0),)


def test_what_varies_by_the_rounding_of_float32_is_drawn_as_constant() -> None:
    axis = linear_axis("update / weight", [0.25, 0.25 + 2**-24, 0.25])

    assert (axis.low, axis.high) == pytest.approx((0.225, 0.275))


def test_of_lines_that_leave_at_one_place_the_first_says_its_step() -> None:
    near = [Course(f"{k}", [0, k + 1], [(1.0, 5.0), (1.0 + k / 10, 15.0)]) for k in range(3)]
    far = Course("far", [0, 7], [(9.0, 5.0), (9.0, 15.0)])

    _, marks = paths([*near, far], Axis("w1", 0, 10), Axis("w2", 0, 10))

    assert [mark.text for mark in marks] == ["step 1", "", "", "step 7"]


def test_a_path_that_ends_in_no_number_is_marked_where_it_was_last_seen() -> None:
    _, marks = paths([Course("", range(3), [(5, 5), (6, 6), (NAN, 6)])], ACROSS, UP)

    assert marks == (Mark(Kind.NON_FINITE, (6, 6), "", 0),)


def test_a_curve_that_falls_to_zero_is_cut_and_not_marked() -> None:
    up = Axis("loss", 1e-3, 1.0, is_logarithmic=True)
    [line], marks = curves([Course("", range(3), [(0, 1.0), (1, 0.1), (2, 0.0)])], ACROSS, up)

    assert line.strokes[0].ends_cut
    assert marks == ()


LINE = Line(
    "", (Stroke((0, 1, 2), ((0, 0), (1, 1), (2, 2)), ends_cut=True), Stroke((5, 6), ((3, 3), (4, 4))))
)


@pytest.mark.parametrize(
    ("step", "counts"), [(0, [1]), (1, [2]), (2, [3]), (4, [3]), (5, [3, 1]), (9, [3, 2])]
)
def test_a_frame_has_as_much_of_a_line_as_was_run(step: int, counts: list[int]) -> None:
    drawn = LINE.until(step)

    assert [len(stroke.points) for stroke in drawn.strokes] == counts
    assert drawn.strokes[0].ends_cut == (step >= 2)
    assert LINE.last_step == 6


def test_too_many_frames_are_thinned_to_those_that_move() -> None:
    scene = Scene("", "", (Panel("", ACROSS, UP, lines=(LINE,)),))

    assert frame_steps(scene, range(10), most=10) == list(range(10))
    assert frame_steps(scene, range(10), most=6) == [0, 1, 2, 5, 6, 9]
    assert frame_steps(scene, range(10), most=3) == [0, 2, 6, 9]
