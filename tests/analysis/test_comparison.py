"""Comparisons: every number of a summary, worked out by hand or from the recorded weights."""

from __future__ import annotations

import math

import pytest

from optitrace.analysis.comparison import Summary, compare, summarize
from optitrace.experiment.text import design_text, parse_text
from optitrace.records.trace import NamedTrace
from optitrace.tracing.tracer import trace


def named(text: str) -> NamedTrace:
    return NamedTrace(text, trace(design_text(parse_text(text))))


def summary(text: str, tolerance: float = 1e-3) -> Summary:
    return summarize(named(text), tolerance)


def test_a_straight_way_has_no_detour_and_no_overshoot() -> None:
    # along one coordinate of curvature 2, each step multiplies the weight by 1 - 2·lr = 0.8
    found = summary("sgd:coefficients=1,start=1,lr=0.1,steps=3,dtype=float64")

    assert found.distance == pytest.approx(0.8**3)
    assert found.final_loss == pytest.approx(0.8**6)
    assert found.detour == pytest.approx(1)
    assert found.overshoot == 0
    assert found.starting_loss == 1


def test_a_way_past_the_minimum_and_back_is_measured() -> None:
    # with lr 0.75 each step multiplies the weight by -0.5: 1, -0.5, 0.25
    found = summary("sgd:coefficients=1,start=1,lr=0.75,steps=2,dtype=float64")

    assert found.overshoot == 0.5
    assert found.detour == (1.5 + 0.75) / 0.75


def test_a_coordinate_that_starts_below_the_minimum_overshoots_upwards() -> None:
    assert summary("sgd:coefficients=1,start=-1,lr=0.75,steps=1").overshoot == 0.5


def test_of_several_minima_the_nearest_counts() -> None:
    # Himmelblau 1972: one minimum is (-2.805118, 3.131312), and the first of the four (3, 2)
    found = summary("sgd:objective=himmelblau,start=-3;3,steps=0")

    assert found.distance == pytest.approx(math.dist((-3, 3), (-2.805118, 3.131312)), abs=1e-5)


@pytest.mark.parametrize(
    ("tolerance", "steps"),
    [(1.1 * 0.8**2, 1), (1.1 * 0.8**6, 3), (1.1 * 0.8**8, 4), (0.9 * 0.8**8, None)],
)
def test_steps_to_tolerance_counts_the_steps_that_were_taken(tolerance: float, steps: int | None) -> None:
    # the loss after k steps is 0.8^(2k)
    found = summary("sgd:coefficients=1,start=1,lr=0.1,steps=4,dtype=float64", tolerance)

    assert found.steps_to_tolerance == steps


def test_a_stale_gradient_is_known_by_its_end_alone() -> None:
    found = summary("sgd:coefficients=1,start=1,lr=0.1,steps=5,gradient=stale,dtype=float64")

    assert found.final_loss == pytest.approx(0)
    assert found.steps_to_tolerance == 5


def test_divergence_is_the_first_step_with_a_number_that_is_not_finite() -> None:
    found = summary("sgd:lr=0.6,steps=300")

    assert found.diverged_at == named("sgd:lr=0.6,steps=300").trace.outcome.step
    assert found.detour is None
    assert summary("sgd").diverged_at is None


def test_without_a_minimum_there_is_no_distance_and_no_overshoot() -> None:
    found = summary("sgd:coefficients=1;-1")

    assert (found.distance, found.overshoot) == (None, None)


def test_no_step_has_no_start_to_compare_with() -> None:
    found = summary("sgd:steps=0")

    assert (found.starting_loss, found.steps_to_tolerance, found.detour) == (None, None, None)
    assert found.final_loss == 0.75


def test_the_lowest_final_loss_comes_first_and_what_is_no_number_last() -> None:
    comparison = compare([named("sgd:lr=0.6,steps=300"), named("sgd:lr=0.001"), named("sgd:lr=0.1")])

    assert [s.name for s in comparison.summaries] == ["sgd:lr=0.1", "sgd:lr=0.001", "sgd:lr=0.6,steps=300"]
    assert [n.name for n in comparison.traces] == [s.name for s in comparison.summaries]
    assert math.isnan(comparison.summaries[-1].final_loss)


def test_the_best_is_the_least_of_a_column_and_nothing_where_all_are_the_same() -> None:
    comparison = compare([named("sgd"), named("sgd:lr=0.1"), named("sgd:lr=0.2,momentum=0.9")])

    assert comparison.best("final_loss") == min(s.final_loss for s in comparison.summaries)
    assert comparison.best("overshoot") == 0
    assert comparison.best("starting_loss") is None


def test_a_thinned_trace_has_the_same_ends() -> None:
    whole = named("adam:lr=0.1,steps=20")
    thinned = NamedTrace("thinned", whole.trace.every_kth(5))

    found, full = summarize(thinned, 1e-3), summarize(whole, 1e-3)

    assert (found.final_loss, found.distance) == (full.final_loss, full.distance)
    assert found.last_step == 20


def test_a_loss_that_falls_beyond_every_number_is_last_and_not_the_best() -> None:
    compared = compare(
        [named(f"sgd:objective=saddle,start=0;1,steps=100,lr={lr}") for lr in ("0.9", "0.1", "0.2")]
    )

    assert [s.experiment.hyperparameters["lr"] for s in compared.summaries] == [0.2, 0.1, 0.9]
    assert compared.summaries[-1].final_loss == -math.inf
    assert compared.best("final_loss") == compared.summaries[0].final_loss
