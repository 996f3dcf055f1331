from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optitrace.analysis.theory import stability_limit
from optitrace.experiment.experiment import Experiment, design
from optitrace.tracing.tracer import trace

STEPS = 1500
"""At 1 % from the limit an error changes by 2 % a step or more: in 1500 steps, by a factor of 1e13."""

LIMITS: list[tuple[dict[str, Any], Sequence[float], float]] = [
    # 2(1 + momentum) / largest curvature, which is twice the largest coefficient
    ({}, (1, 2), 2 / 4),
    ({}, (1, 50), 2 / 100),
    ({}, (3,), 2 / 6),
    ({}, (0.25, 0.5, 0.125), 2 / 1),
    ({"momentum": 0.5}, (1, 2), 3 / 4),
    ({"momentum": 0.9}, (1, 2), 3.8 / 4),
    ({"momentum": 0.9}, (1, 20), 3.8 / 40),
    # Nesterov's form: divided by 1 + 2·momentum
    ({"momentum": 0.5, "nesterov": True}, (1, 2), 3 / (2 * 4)),
    ({"momentum": 0.9, "nesterov": True}, (1, 2), 3.8 / (2.8 * 4)),
    # weight decay adds to every curvature
    ({"weight_decay": 1.0}, (1, 2), 2 / 5),
    ({"weight_decay": 0.5, "momentum": 0.9}, (1, 2), 3.8 / 4.5),
    ({"weight_decay": 0.5, "momentum": 0.9, "nesterov": True}, (1, 2), 3.8 / (2.8 * 4.5)),
    # dampening d leaves the share 1 - d of each gradient in the buffer
    ({"momentum": 0.5, "dampening": 0.5}, (1, 2), 3 / (0.5 * 4)),
    ({"momentum": 0.9, "dampening": 0.9}, (1, 2), 3.8 / (0.1 * 4)),
    ({"momentum": 0.5, "dampening": -1.0}, (1, 2), 3 / (2 * 4)),
    # climbing turns the curvatures, but not weight decay's
    ({"maximize": True}, (-1, -2), 2 / 4),
    ({"maximize": True, "weight_decay": 3.0, "momentum": 0.5}, (-1, 1), 3 / 5),
]

CASES = pytest.mark.parametrize(("hyperparameters", "coefficients", "limit"), LIMITS, ids=str)


def at(lr: float, hyperparameters: dict[str, Any], coefficients: Sequence[float], **more: Any) -> Experiment:
    return design("sgd", {**hyperparameters, "lr": lr}, coefficients=coefficients, dtype="float64", **more)


def growth(experiment: Experiment) -> float:
    """Return how many times farther from the origin a run of float64 ends than it began."""
    traced = trace(experiment, every=STEPS)
    first, last = (max(map(abs, traced.weights.row(row) or ())) for row in (0, 1))
    return last / first


@CASES
def test_the_limit_is_what_the_formula_gives_by_hand(
    hyperparameters: dict[str, Any], coefficients: Sequence[float], limit: float
) -> None:
    found = stability_limit(at(0.01, hyperparameters, coefficients))

    assert found is not None
    assert found.lr == pytest.approx(limit, rel=1e-14)


@CASES
def test_a_run_below_the_limit_converges_and_one_above_it_diverges(
    hyperparameters: dict[str, Any], coefficients: Sequence[float], limit: float
) -> None:
    below, above = (at(f * limit, hyperparameters, coefficients, steps=STEPS) for f in (0.99, 1.01))

    assert growth(below) < 1e-6
    assert growth(above) > 1e6


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    momentum=st.floats(0.0, 0.95),
    nesterov=st.booleans(),
    weight_decay=st.floats(0.0, 1.0),
    coefficients=st.lists(st.floats(0.1, 5.0), min_size=1, max_size=4),
)
def test_the_limit_divides_runs_of_any_setting(
    momentum: float, nesterov: bool, weight_decay: float, coefficients: list[float]
) -> None:
    hyperparameters = {
        "momentum": momentum,
        "nesterov": nesterov and momentum > 0,
        "weight_decay": weight_decay,
    }
    limit = stability_limit(at(0.01, hyperparameters, coefficients))

    assert limit is not None
    assert growth(at(0.99 * limit.lr, hyperparameters, coefficients, steps=STEPS)) < 1e-6
    assert growth(at(1.01 * limit.lr, hyperparameters, coefficients, steps=STEPS)) > 1e6


def test_a_limit_that_were_three_percent_off_would_be_noticed() -> None:
    for wrong in (0.97, 1.03):
        runs = [growth(at(factor * wrong * 0.5, {}, (1, 2), steps=STEPS)) for factor in (0.99, 1.01)]
        assert not (runs[0] < 1e-6 and runs[1] > 1e6)


@pytest.mark.parametrize(
    ("start", "limit"), [((0.5, 0.0), 2 / 2), ((0.0, 0.5), 2 / 4), ((0.5, 1e-3), 2 / 4)], ids=str
)
def test_a_coordinate_that_starts_at_its_minimum_has_no_say(start: tuple[float, float], limit: float) -> None:
    found = stability_limit(at(0.01, {}, (1, 2), start=start))

    assert found is not None
    assert found.lr == limit
    assert growth(at(0.99 * limit, {}, (1, 2), start=start, steps=STEPS)) < 1e-6
    assert growth(at(1.01 * limit, {}, (1, 2), start=start, steps=STEPS)) > 1e6


@pytest.mark.parametrize(
    ("hyperparameters", "coefficients", "reason"),
    [
        ({}, (1, -2), "a curvature is -4, where every step moves away from the minimum"),
        ({"maximize": True}, (1, 2), "a curvature is -4, where every step moves away from the minimum"),
        ({"momentum": 0.9}, (-0.5, 2), "a curvature is -1, where every step moves away from the minimum"),
    ],
    ids=str,
)
@pytest.mark.parametrize("lr", [0.001, 0.1, 10.0])
def test_where_the_loss_falls_without_bound_no_lr_converges(
    hyperparameters: dict[str, Any], coefficients: Sequence[float], reason: str, lr: float
) -> None:
    experiment = at(lr, hyperparameters, coefficients, steps=STEPS)
    found = stability_limit(experiment)

    assert found is not None
    assert (found.lr, found.reason) == (0, reason)
    # 1500 steps of the least growth here, 1.001 a step
    assert not growth(experiment) < 4.4


def test_a_negative_curvature_along_which_nothing_starts_does_not_count() -> None:
    found = stability_limit(at(0.01, {}, (1, -2), start=(0.5, 0.0)))

    assert found is not None
    assert found.lr == 1.0


@pytest.mark.parametrize("momentum", [1.0, 1.5])
def test_a_momentum_that_never_dies_away_has_no_limit_that_converges(momentum: float) -> None:
    experiment = at(0.01, {"momentum": momentum}, (1, 2), steps=STEPS)
    found = stability_limit(experiment)

    assert found is not None
    assert (found.lr, found.reason) == (0, f"a momentum of {momentum:g} never decays")
    assert not growth(experiment) < 1e-2


@pytest.mark.parametrize(
    ("hyperparameters", "coefficients", "reason"),
    [
        ({}, (1, 2), "2 / 4, the largest curvature"),
        ({"momentum": 0.9}, (1, 2), "2(1 + 0.9) / 4, the largest curvature"),
        ({"momentum": 0.9, "nesterov": True}, (1, 2), "2(1 + 0.9) / (2.8·4), the largest curvature"),
        ({"momentum": 0.5, "dampening": 0.25}, (1, 2), "2(1 + 0.5) / (0.75·4), the largest curvature"),
        ({"weight_decay": 0.5}, (1, 2), "2 / 4.5, the largest curvature, weight decay included"),
    ],
    ids=str,
)
def test_the_reason_is_the_formula_in_numbers(
    hyperparameters: dict[str, Any], coefficients: Sequence[float], reason: str
) -> None:
    found = stability_limit(at(0.01, hyperparameters, coefficients))

    assert found is not None
    assert found.reason == reason


@pytest.mark.parametrize(
    "experiment",
    [
        design("adam"),
        design("sgd", gradient="stale"),
        design("sgd", gradient="accumulated"),
        design("sgd", start=(0.0, 0.0)),
        design("sgd", coefficients=(0.0, 0.0)),
        design("sgd", {"momentum": 0.5, "dampening": 1.0}),
        design("sgd", {"momentum": 0.5, "dampening": 1.5, "maximize": True}),
    ],
    ids=["adam", "stale", "accumulated", "at the minimum", "flat", "dampened", "turned by its dampening"],
)
def test_nothing_is_said_where_the_theory_says_nothing(experiment: Experiment) -> None:
    assert stability_limit(experiment) is None
