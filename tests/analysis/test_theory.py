from __future__ import annotations

import cmath
from typing import Any

import pytest

from optitrace.analysis.theory import linear_iteration, theory
from optitrace.errors import UsageError
from optitrace.experiment.experiment import design
from optitrace.tracing.tracer import trace

RUNS: list[dict[str, Any]] = [
    {},
    {"lr": 0.1},
    {"lr": 0.1, "momentum": 0.5},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    {"lr": 0.1, "weight_decay": 0.5},
    {"lr": 0.1, "momentum": 0.5, "dampening": 0.5},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2},
    {"lr": 0.505},
    {"lr": 0.78, "momentum": 0.5},
]


@pytest.mark.parametrize("settings", RUNS, ids=str)
def test_predicted_and_observed_rate_agree_on_a_long_run(settings: dict[str, Any]) -> None:
    told = theory(trace(design("sgd", settings, steps=4000, dtype="float64")))

    assert told.observed_rate == pytest.approx(told.predicted_rate, rel=0.01)


def test_a_wrong_prediction_would_be_noticed() -> None:
    """The rate of another momentum is further away than the tolerance of the test above."""
    told = theory(trace(design("sgd", {"lr": 0.1, "momentum": 0.9}, steps=4000, dtype="float64")))
    other = linear_iteration(design("sgd", {"lr": 0.1, "momentum": 0.87}))
    assert other is not None

    assert told.observed_rate != pytest.approx(max(map(other.radius, other.curvatures)), rel=0.01)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.3, 0.9])
@pytest.mark.parametrize("lr", [0.01, 0.2, 0.6, 1.2])
def test_the_radius_is_that_of_the_eigenvalues_of_the_step_matrix(
    lr: float, momentum: float, nesterov: bool
) -> None:
    """The matrix of one step on (w, b) for the curvature 2, its eigenvalues by the quadratic formula."""
    iteration = linear_iteration(design("sgd", {"lr": lr, "momentum": momentum, "nesterov": nesterov}))
    assert iteration is not None
    # b' = m·b + 2w; w' = w - lr·b', or w - lr·(2w + m·b') with the look-ahead
    ww, wb = 1 - lr * 2, -lr * momentum
    if nesterov:
        ww, wb = 1 - lr * (2 + momentum * 2), -lr * momentum * momentum
    bw, bb = 2.0, momentum
    half, determinant = (ww + bb) / 2, ww * bb - wb * bw
    root = cmath.sqrt(half * half - determinant)

    assert iteration.radius(2.0) == pytest.approx(max(abs(half + root), abs(half - root)))


def test_the_best_lr_makes_up_for_dampening() -> None:
    """Curvatures 1 and 9 again: with half of each gradient kept out, twice the lr takes the same steps."""
    settings = {"momentum": 0.5, "dampening": 0.5}
    told = theory(trace(design("sgd", settings, steps=1, coefficients=(0.5, 4.5))))
    assert told.optimum is not None

    assert (told.optimum.lr, told.optimum.momentum) == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize("nesterov", [False, True])
def test_no_neighbour_of_the_best_lr_and_momentum_is_faster(nesterov: bool) -> None:
    start = {"momentum": 0.5, "nesterov": nesterov}
    told = theory(trace(design("sgd", start, steps=1, coefficients=(0.5, 5, 12.5))))
    assert told.optimum is not None

    def rate(lr: float, momentum: float) -> float:
        settings = {"lr": lr, "momentum": momentum, "nesterov": nesterov}
        iteration = linear_iteration(design("sgd", settings, coefficients=(0.5, 5, 12.5)))
        assert iteration is not None
        return max(map(iteration.radius, iteration.curvatures))

    best = rate(told.optimum.lr, told.optimum.momentum)
    for lr_factor in (0.97, 1.0, 1.03):
        for momentum_factor in (0.97, 1.0, 1.03):
            assert best <= rate(told.optimum.lr * lr_factor, told.optimum.momentum * momentum_factor) + 1e-9


def test_the_best_heavy_ball_settings_are_polyaks() -> None:
    """Curvatures 1 and 9: lr 4 / (3 + 1)² and momentum ((3 − 1) / (3 + 1))²."""
    told = theory(trace(design("sgd", steps=1, coefficients=(0.5, 4.5))))
    assert told.optimum is not None

    assert (told.optimum.lr, told.optimum.momentum) == pytest.approx((0.25, 0.25))


def test_the_slowest_coordinate_is_the_flattest_for_a_small_lr_and_the_steepest_for_a_large() -> None:
    assert theory(trace(design("sgd", {"lr": 0.01}, steps=1))).slowest == 1
    assert theory(trace(design("sgd", {"lr": 0.45}, steps=1))).slowest == 2


def test_a_short_run_has_no_observed_rate() -> None:
    assert theory(trace(design("sgd", steps=3))).observed_rate is None


@pytest.mark.parametrize(("steps", "is_observed"), [(20, False), (80, False), (120, True)])
def test_a_run_shorter_than_its_swings_has_no_observed_rate(steps: int, is_observed: bool) -> None:
    """By hand: θ = acos(1.88 / (2·√0.9)) = 0.136 for curvature 2, so that a swing takes 23 steps."""
    told = theory(trace(design("sgd", {"momentum": 0.9}, steps=steps, dtype="float64")))

    assert (told.observed_rate is not None) is is_observed
    if told.observed_rate is not None:
        assert told.observed_rate == pytest.approx(told.predicted_rate, rel=0.02)


def test_a_run_that_reaches_the_minimum_has_no_observed_rate() -> None:
    """lr 0.5 on curvature 2: the minimum in one step."""
    traced = trace(design("sgd", {"lr": 0.5}, coefficients=[1.0], start=[1.0], steps=20))

    assert theory(traced).observed_rate is None


def test_climbing_has_no_best_lr() -> None:
    told = theory(trace(design("sgd", {"maximize": True}, steps=1)))

    assert told.optimum is None
    assert told.predicted_rate > 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adam", {}, r"theory covers only sgd on the quadratic, .*and no schedule; leave out --theory\."),
        ("sgd", {"gradient": "stale"}, "with a fresh gradient, neither noisy nor clipped, and no schedule"),
        ("sgd", {"noise": 0.1}, "neither noisy nor clipped"),
        ("sgd", {"objective": "booth"}, "only sgd on the quadratic"),
        ("sgd", {"schedule": "StepLR:step_size=1"}, "and no schedule; leave out --theory"),
        (
            "sgd",
            {"start": (0, 0)},
            r"the start is at the minimum, where theory predicts nothing; choose another",
        ),
    ],
)
def test_other_runs_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        theory(trace(design(name, steps=2, **options)))
