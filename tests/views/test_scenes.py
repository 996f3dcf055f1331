"""What is drawn of a run, of several, and of a sweep: the numbers of the result, and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from support.pictured import compared, compared_scene, marks, points, scene_of, swept, traced
from support.samples import made_up

from optitrace.analysis.loss_grid import terrain
from optitrace.views.pictures.run_scenes import compare_numbers, trace_numbers, trace_scene
from optitrace.views.pictures.scene import Axis, Kind, Scene
from optitrace.views.pictures.sweep_scene import sweep_scene


def test_the_path_has_the_weights_of_every_step_and_the_curve_the_loss_after_it() -> None:
    run, scene = traced(momentum=0.1, steps=2), scene_of(momentum=0.1, steps=2)
    plane, chart = scene.panels

    assert points(plane) == [run.weights.row(k) for k in range(3)]
    assert points(chart) == [(0, run.loss.values[0]), (1, run.loss.values[1]), (2, run.final_loss)]
    assert (chart.across.label, chart.up.label) == ("steps taken", "loss")


def test_the_documented_numbers_are_drawn() -> None:
    plane, _ = scene_of(momentum=0.1, steps=2, gradient="stale").panels

    # cell 16 of the document prints these
    assert [tuple(round(w, 4) for w in at) for at in points(plane)[1:]] == [(0.49, 0.48), (0.479, 0.458)]


def test_start_and_minimum_are_marked_where_they_are() -> None:
    plane, _ = scene_of("adam", objective="booth", steps=20).panels

    assert [mark.at for mark in marks(plane, Kind.START)] == [(0.0, 0.0)]
    assert [mark.at for mark in marks(plane, Kind.MINIMUM)] == [(1.0, 3.0)]


def test_words_are_those_of_the_table() -> None:
    scene = scene_of(momentum=0.1, steps=2)

    assert scene.title == "sgd(lr=0.01, momentum=0.1)"
    assert scene.subtitle == "loss = w1² + 2·w2² from (0.5, 0.5), float32 on cpu"
    assert scene.notes == ("final loss 0.6506 after 2 steps",)


def test_many_coordinates_have_the_loss_and_the_norms() -> None:
    run, scene = traced(dimension=5, lr=0.1), scene_of(dimension=5, lr=0.1)
    loss, gradient, update = scene.panels

    assert [panel.up.label for panel in scene.panels] == ["loss", "gradient norm", "update norm"]
    assert points(gradient)[0] == pytest.approx((1.0, math.hypot(*(run.gradient.row(1) or ()))))
    # plain gradient descent moves by lr times the gradient
    assert [y for _, y in points(update)] == pytest.approx([0.1 * y for _, y in points(gradient)], rel=1e-5)
    assert len(points(loss)) == 11


def test_a_single_coordinate_runs_along_its_loss() -> None:
    run, scene = traced(coefficients=(3,), lr=0.1), scene_of(coefficients=(3,), lr=0.1)
    plane, _ = scene.panels

    assert (plane.across.label, plane.up.label) == ("w1", "loss")
    for w, loss in points(plane):
        assert loss == pytest.approx(3 * w * w, rel=1e-6)
    assert [w for w, _ in points(plane)][:3] == [(run.weights.row(k) or ())[0] for k in range(3)]
    assert all(y == pytest.approx(3 * x * x) for stroke in plane.ground for x, y in stroke.dots)


def test_of_a_single_coordinate_steps_whose_loss_was_not_recorded_lie_on_the_curve() -> None:
    run = traced(coefficients=(3,), lr=0.01, steps=40).every_kth(10)
    plane, _ = trace_scene(run, terrain([run])).panels

    assert [w for w, _ in points(plane)] == [(run.weights.row(k) or ())[0] for k in range(5)]
    for w, loss in points(plane):
        assert loss == pytest.approx(3 * w * w, abs=1e-4)


def test_a_schedule_is_drawn() -> None:
    scene = scene_of(steps=20, schedule="StepLR:step_size=10,gamma=0.5")

    assert [panel.up.label for panel in scene.panels] == ["w2", "loss", "lr"]
    assert [y for _, y in points(scene.panels[2])] == [0.01] * 10 + [0.005] * 10


def test_a_run_that_diverges_leaves_the_plane_and_its_loss_ends() -> None:
    run, scene = traced(lr=0.6, steps=300), scene_of(lr=0.6, steps=300)
    plane, chart = scene.panels
    [leaves] = marks(plane, Kind.LEAVES)
    [ends] = marks(chart, Kind.NON_FINITE)
    step = int(leaves.text.removeprefix("step "))

    assert plane.up.low in leaves.at or plane.up.high in leaves.at
    assert plane.up.low <= (run.weights.row(step - 1) or ())[1] <= plane.up.high
    assert not plane.up.low <= (run.weights.row(step) or ())[1] <= plane.up.high
    assert chart.up.is_logarithmic
    assert ends.at[1] == pytest.approx(chart.up.high)
    assert scene.notes[1] == "step 134: the loss is not finite"


CASES: list[dict[str, Any]] = [
    {"steps": 0},
    {"start": (0.0, 0.0)},
    {"lr": 1e30, "steps": 5},
    {"lr": 0.6, "steps": 300},
    {"objective": "saddle", "lr": 0.1, "steps": 2000},
    {"optimizer": "adam", "objective": "rosenbrock", "steps": 200},
    {"coefficients": (1.0, 1e8), "start": (1e3, 1.0), "lr": 1e-9, "steps": 50},
    {"coefficients": (-1.0,), "steps": 3000},
    {"coefficients": (0.0, 0.0)},
    {"objective": "w1*0 + w2*0 + 3"},
    {"objective": "sqrt(w1)*log(w2)", "lr": 0.3, "steps": 9},
    {"start": (1e30, -1e30), "dtype": "float64", "steps": 3},
    {"start": (1e-300, 1e-310), "dtype": "float64", "steps": 3},
    {"dimension": 3, "lr": 2.0, "steps": 200},
    {"optimizer": "lbfgs", "objective": "himmelblau"},
    {"gradient": "stale", "steps": 70},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_position_lies_within_its_axes(case: dict[str, Any]) -> None:
    check_inside(scene_of(**case))


def check_inside(scene: Scene) -> None:
    for panel in scene.panels:
        lines = [*panel.lines, *panel.limits]
        drawn = [at for line in lines for stroke in line.strokes for at in stroke.points]
        drawn += [at for stroke in panel.ground for at in stroke.points]
        drawn += [mark.at for mark in panel.marks]
        assert math.isfinite(panel.across.high - panel.across.low)
        assert 0 < panel.up.high - panel.up.low < math.inf
        for x, y in drawn:
            assert -1e-9 <= panel.across.share(x) <= 1 + 1e-9
            assert -1e-9 <= panel.up.share(y) <= 1 + 1e-9


def test_a_position_outside_would_be_noticed() -> None:
    scene = scene_of()
    panel = replace(scene.panels[0], across=Axis("w1", 0.45, 0.46))

    with pytest.raises(AssertionError, match=r"<= \(1 \+ 1e-09\)"):
        check_inside(replace(scene, panels=(panel,)))


def test_weights_that_are_not_numbers_are_left_out() -> None:
    broken = made_up([0, 1, 2, 3], [0.5, math.nan, 0.25, math.inf], coordinates=2)

    check_inside(trace_scene(broken, terrain([broken])))


def test_runs_are_drawn_in_the_order_of_their_ranking_from_one_start() -> None:
    optimizers = ("adagrad", "sgd", "adam")
    comparison, scene = compared(*optimizers), compared_scene(*optimizers)
    ranked = [summary.name for summary in comparison.summaries]

    assert ranked[0] != "adagrad"
    for panel in scene.panels:
        assert [line.name for line in panel.lines] == ranked
    for number, named in enumerate(comparison.traces):
        last = named.trace.weights.row(30)
        assert points(scene.panels[0], number)[-1] == last
    assert [mark.at for mark in marks(scene.panels[0], Kind.START)] == [(0.5, 0.5)]
    assert scene.title == "3 runs, all at lr 0.1"
    assert scene.notes[-1].startswith("sgd reached 0.001 of the starting loss in ")


def test_runs_of_many_coordinates_have_the_norms() -> None:
    scene = compared_scene("sgd", "adam", dimension=4)

    assert [panel.up.label for panel in scene.panels] == ["loss", "gradient norm", "update norm"]


def test_a_sweep_over_one_number_is_a_curve_with_the_best_the_limit_and_the_diverged() -> None:
    found = swept("lr=0.05:0.8:16")
    scene = sweep_scene([found])
    assert scene is not None
    [panel] = scene.panels
    losses = found.landscape.losses[0] if found.landscape else []
    # lr·4 = 2 is the limit: 0.5 and what is below converges, or stays
    gone = [0.05 * k for k in range(11, 17)]

    assert [x for x, _ in points(panel)] == pytest.approx([0.05 * k for k in range(1, 11)])
    assert [y for _, y in points(panel)][:3] == pytest.approx(list(losses)[:3])
    assert [mark.at[0] for mark in marks(panel, Kind.DIVERGED)] == pytest.approx(gone)
    assert [mark.at[0] for mark in marks(panel, Kind.BEST)] == [found.best[0].configuration["lr"]]
    assert [stroke.points[0][0] for stroke in panel.limits[0].strokes] == [0.5]
    assert scene.title == "sgd: 16 configurations, 60 steps each"


def test_a_sweep_over_two_numbers_is_a_map_whose_limit_rises_with_momentum() -> None:
    found = swept("lr=0.1:1.5:15", "momentum=0:0.8:9")
    scene = sweep_scene([found])
    assert scene is not None
    assert found.landscape is not None
    [panel] = scene.panels
    assert panel.cells is not None

    assert (panel.across.label, panel.up.label, panel.title) == ("lr", "momentum", "")
    assert [len(panel.cells.rows), len(panel.cells.rows[0])] == [9, 15]
    for shown, losses in zip(panel.cells.rows, found.landscape.losses, strict=True):
        for logarithm, loss in zip(shown, losses, strict=True):
            if loss > 1e-14:
                assert logarithm == (math.inf if loss == math.inf else pytest.approx(math.log10(loss)))
    # 2(1 + momentum) / 4
    for lr, momentum in panel.limits[0].strokes[0].points:
        assert lr == pytest.approx((1 + momentum) / 2)
    [best] = marks(panel, Kind.BEST)
    assert best.at == pytest.approx(
        (found.best[0].configuration["lr"], found.best[0].configuration["momentum"])
    )


def test_values_of_a_list_stand_side_by_side_and_are_named() -> None:
    scene = sweep_scene([swept("lr=0.1,0.2,0.7")])
    assert scene is not None
    [panel] = scene.panels

    assert panel.across.ticks == ((0.5, "0.1"), (1.5, "0.2"), (2.5, "0.7"))
    assert [x for x, _ in points(panel)] == [0.5, 1.5]
    assert [mark.at[0] for mark in marks(panel, Kind.DIVERGED)] == [2.5]


def test_sweeps_of_several_optimizers_share_a_picture() -> None:
    one = [swept("lr=log:1e-3:1:20"), swept("lr=log:1e-3:1:20", optimizer="adam")]
    two = [swept("lr=0.1,0.2", "weight_decay=0,0.1", optimizer=o) for o in ("sgd", "adam")]
    curve, maps = sweep_scene(one), sweep_scene(two)
    assert curve is not None
    assert maps is not None

    assert [line.name for line in curve.panels[0].lines] == ["sgd", "adam"]
    assert [mark.line for mark in marks(curve.panels[0], Kind.BEST)] == [0, 1]
    assert [panel.title for panel in maps.panels] == ["sgd", "adam"]
    assert curve.title == "sgd, adam: 20 configurations, 60 steps each"


def test_what_was_never_drawn_in_a_random_sweep_is_blank() -> None:
    scene = sweep_scene([swept("lr=log:1e-3:1", "momentum=0:0.9", samples=50)])
    assert scene is not None
    cells = scene.panels[0].cells
    assert cells is not None
    known = [x for row in cells.rows for x in row if not math.isnan(x)]

    assert 0 < len(known) <= 50
    check_inside(scene)


def test_a_sweep_of_what_is_no_number_has_no_picture() -> None:
    assert sweep_scene([swept("nesterov=true,false", "momentum=0.9")]) is None


def test_the_numbers_of_a_step_are_those_of_its_row_and_the_loss_after_it() -> None:
    run = traced(momentum=0.1, steps=2)
    numbers = trace_numbers(run, [0, 2], precision=4)

    assert [f"{section}: {name}" for section, name in numbers.headings] == [
        *("used by the step: loss", "used by the step: gradient w1", "used by the step: gradient w2"),
        *("after the step: loss", "after the step: weights w1", "after the step: weights w2"),
        *("state after the step: momentum_buffer w1", "state after the step: momentum_buffer w2"),
    ]
    # row 2 of the README's first table; 1.08 and 2.12 are its momentum
    assert numbers.rows[2] == ["0.7009", "0.9800", "1.9200", "0.6506", "0.4792", "0.4588", "1.0800", "2.1200"]
    assert numbers.rows[0] == ["", "", "", "0.7500", "0.5000", "0.5000", "", ""]


def test_the_numbers_of_runs_side_by_side_are_the_loss_and_the_weights_of_each() -> None:
    comparison = compared("sgd", "adam", steps=5)
    numbers = compare_numbers(comparison.traces, [0, 5], precision=4)
    first = comparison.traces[0]

    assert [section for section, _ in numbers.headings] == [
        r.name for r in comparison.traces for _ in range(3)
    ]
    assert numbers.rows[0] == ["0.7500", "0.5000", "0.5000"] * 2
    assert numbers.rows[5][0] == f"{first.trace.final_loss:.4f}"
