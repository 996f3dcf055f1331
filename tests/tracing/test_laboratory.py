"""Noise, clipping, schedules and targets, held against what a person would write with torch."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from optitrace.analysis.explanation import RuleStep, explain
from optitrace.errors import UsageError
from optitrace.experiment.experiment import design
from optitrace.records.reader import parse_trace
from optitrace.records.trace import Outcome, Status, TraceRecord
from optitrace.records.writer import json_chunks, jsonl_chunks
from optitrace.tracing.tracer import trace

SCHEDULES: dict[str, dict[str, Any]] = {
    "ConstantLR": {"factor": 0.5, "total_iters": 3},
    "LinearLR": {"total_iters": 4},
    "ExponentialLR": {"gamma": 0.9},
    "StepLR": {"step_size": 3, "gamma": 0.5},
    "MultiStepLR": {"milestones": [2, 5], "gamma": 0.1},
    "CosineAnnealingLR": {"T_max": 6, "eta_min": 0.001},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2},
    "PolynomialLR": {"total_iters": 8, "power": 2.0},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 12},
    "ReduceLROnPlateau": {"patience": 0, "factor": 0.5, "threshold": 0.9},
}


def as_text(name: str, arguments: dict[str, Any]) -> str:
    values = {k: ";".join(map(str, v)) if isinstance(v, list) else v for k, v in arguments.items()}
    return f"{name}:{','.join(f'{key}={value}' for key, value in values.items())}"


def rows(traced: TraceRecord, name: str) -> list[tuple[float, ...]]:
    found = [traced.columns[name].row(row) for row in range(1, len(traced.steps))]
    return [row for row in found if row is not None]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_scheduler_moves_the_lr_as_in_a_loop_of_torch(name: str, optimizer: str) -> None:
    settings = {"momentum": 0.9} if optimizer == "sgd" else {}
    traced = trace(design(optimizer, settings, steps=10, schedule=as_text(name, SCHEDULES[name])))

    w = torch.tensor([0.5, 0.5], requires_grad=True)
    by_hand = torch.optim.SGD([w], lr=0.01, momentum=0.9) if settings else torch.optim.Adam([w], lr=0.01)
    scheduler: Any = getattr(lr_scheduler, name)(by_hand, **SCHEDULES[name])
    for step in range(10):
        by_hand.zero_grad()
        loss = w[0] ** 2 + 2 * w[1] ** 2
        loss.backward()  # type: ignore[no-untyped-call]
        assert rows(traced, "lr")[step] == (by_hand.param_groups[0]["lr"],)
        by_hand.step()
        scheduler.step(loss.item()) if name == "ReduceLROnPlateau" else scheduler.step()
        assert rows(traced, "weights")[step] == tuple(w.tolist())


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_moved_momentum_is_recorded_and_explained(name: str, optimizer: str) -> None:
    settings = {"momentum": 0.9} if optimizer == "sgd" else {}
    traced = trace(
        design(optimizer, settings, steps=10, schedule=as_text(name, SCHEDULES[name]), dtype="float64")
    )

    assert len(set(rows(traced, "momentum"))) > 3
    for step in explain(traced).values():
        assert isinstance(step, RuleStep)
        # a weight that crosses zero is small beside the one before, whose rounding it bears
        assert max(step.ulps) <= 100


def test_clipping_by_norm_is_torchs_and_shows_both_gradients() -> None:
    traced = trace(design("sgd", {"lr": 0.1}, steps=2, clip_norm=1.0))

    # by hand: the gradient (1, 2) has norm √5
    assert rows(traced, "unclipped_gradient")[0] == (1.0, 2.0)
    expected = (1 / math.sqrt(5), 2 / math.sqrt(5))
    assert rows(traced, "gradient")[0] == pytest.approx(expected, rel=1e-5)
    w = torch.tensor([0.5, 0.5], requires_grad=True)
    (w[0] ** 2 + 2 * w[1] ** 2).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([w], 1.0)
    assert w.grad is not None
    assert rows(traced, "gradient")[0] == tuple(w.grad.tolist())


def test_clipping_by_value_cuts_each_coordinate() -> None:
    traced = trace(design("sgd", steps=1, clip_value=1.5))

    assert rows(traced, "unclipped_gradient") == [(1.0, 2.0)]
    assert rows(traced, "gradient") == [(1.0, 1.5)]
    # the step used the clipped one
    assert rows(traced, "weights")[0] == pytest.approx((0.49, 0.485))


@pytest.mark.parametrize("optimizer", ["lbfgs", "sparseadam", "muon"])
def test_optimizers_with_needs_of_their_own_are_clipped_too(optimizer: str) -> None:
    traced = trace(design(optimizer, steps=1, clip_value=0.5))

    assert rows(traced, "unclipped_gradient") == [(1.0, 2.0)]
    assert rows(traced, "gradient") == [(0.5, 0.5)]


def test_noise_is_seeded_and_can_be_repeated() -> None:
    def run(seed: int) -> TraceRecord:
        return trace(design("sgd", steps=5, noise=0.5, seed=seed))

    assert rows(run(1), "gradient") == rows(run(1), "gradient")
    assert rows(run(1), "gradient") != rows(run(2), "gradient")


def test_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    traced = trace(design("sgd", {"lr": 0.0}, steps=4000, noise=0.25, seed=3))
    drawn = torch.tensor(rows(traced, "gradient")) - torch.tensor([1.0, 2.0])

    assert drawn.std(0).tolist() == pytest.approx([0.25, 0.25], rel=0.05)
    assert drawn.mean(0).tolist() == pytest.approx([0.0, 0.0], abs=0.02)


def test_a_stale_gradient_keeps_its_noise() -> None:
    traced = trace(design("sgd", steps=3, noise=0.5, gradient="stale"))

    assert len(set(rows(traced, "gradient"))) == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("target", ["loss<0.1", "gradient<0.3", "distance<0.2"])
def test_a_run_stops_before_the_first_step_from_a_point_that_is_good_enough(
    target: str, optimizer: str
) -> None:
    settings = {"lr": 0.05} if optimizer != "lbfgs" else {"lr": 0.3, "max_iter": 1}
    traced = trace(design(optimizer, settings, steps=500, until=target, dtype="float64"))
    assert traced.outcome.status is Status.TARGET_REACHED
    assert traced.outcome.quantity == target
    assert traced.outcome.step == traced.steps[-1] > 2

    def measure(weights: tuple[float, ...] | None) -> float:
        assert weights is not None
        a, b = weights
        measures = {
            "loss": a * a + 2 * b * b,
            "gradient": math.hypot(2 * a, 4 * b),
            "distance": math.hypot(a, b),
        }
        return measures[target.partition("<")[0]]

    limit = float(target.partition("<")[2])
    assert measure(traced.weights.row(len(traced.steps) - 1)) < limit
    assert measure(traced.weights.row(len(traced.steps) - 2)) >= limit


def test_a_target_that_the_start_has_already_takes_no_step() -> None:
    traced = trace(design("sgd", steps=5, until="loss<1"))

    assert (traced.outcome.step, list(traced.steps)) == (0, [0])


def test_a_target_reached_by_the_last_step_is_reached() -> None:
    steps = trace(design("sgd", {"lr": 0.05}, steps=500, until="loss<0.1")).steps[-1]

    exactly = trace(design("sgd", {"lr": 0.05}, steps=steps, until="loss<0.1"))
    one_fewer = trace(design("sgd", {"lr": 0.05}, steps=steps - 1, until="loss<0.1"))
    assert exactly.outcome.status is Status.TARGET_REACHED
    assert one_fewer.outcome == Outcome(Status.TARGET_NOT_REACHED, steps - 1, "loss<0.1")


def test_a_number_that_is_not_finite_weighs_more_than_a_target_that_was_not_reached() -> None:
    diverged = trace(design("sgd", {"lr": 0.6}, steps=300, until="loss<1e-9"))

    assert diverged.outcome == Outcome(Status.NON_FINITE, 134, "loss")


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "rosenbrock", "until": "distance<0.5"},
        {"objective": "w1**2 + sin(w2)*w3", "noise": 0.1, "seed": 5},
        {"dimension": 7, "condition": 30.0, "rotate": 3, "clip_norm": 0.1},
        {"clip_norm": 1.0, "clip_value": 0.4, "schedule": "OneCycleLR:max_lr=0.1,total_steps=12"},
        {"schedule": "MultiStepLR:milestones=3;6", "until": "loss<0.7"},
    ],
    ids=str,
)
def test_a_trace_says_everything_that_it_takes_to_run_it_again(settings: dict[str, Any]) -> None:
    traced = trace(design("sgd", {"lr": 0.001, "momentum": 0.5}, steps=8, **settings))
    text = "".join(json_chunks(traced))

    read = parse_trace(text.encode())
    assert read.experiment == traced.experiment
    assert "".join(json_chunks(read)) == text
    assert "".join(jsonl_chunks(parse_trace("".join(jsonl_chunks(traced)).encode()))) == "".join(
        jsonl_chunks(traced)
    )
    assert "".join(json_chunks(trace(read.experiment))) == text


def test_an_ordinary_run_has_none_of_these_in_its_file() -> None:
    data = json.loads("".join(json_chunks(trace(design("sgd", steps=1)))))

    assert data["experiment"].keys() == {
        "optimizer",
        "hyperparameters",
        "objective",
        "start",
        "steps",
        "gradient",
        "dtype",
        "device",
        "implementation",
    }
    assert data["steps"][1].keys() == {"step", "loss", "gradient", "weights", "lr", "state"}


def test_a_schedule_that_ends_before_the_run_keeps_what_was_traced() -> None:
    traced = trace(design("sgd", {"momentum": 0.9}, steps=9, schedule="OneCycleLR:max_lr=0.1,total_steps=4"))

    assert traced.outcome.status is Status.FAILED
    assert traced.outcome.reason is not None
    assert "cannot continue: ValueError: Tried to step 5 times" in traced.outcome.reason
    # torch lets the schedule be advanced once more than it has steps
    assert traced.steps[-1] == traced.outcome.step == 5


def test_a_learning_rate_beyond_every_number_keeps_what_was_traced() -> None:
    traced = trace(design("sgd", steps=5, schedule="ExponentialLR:gamma=1e300"))

    assert traced.outcome.status is Status.FAILED
    assert traced.steps[-1] == 1


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            "StepLR",
            r"torch refuses the schedule StepLR: missing 1 required positional argument: 'step_size'\.",
        ),
        ("StepLR:step_size=1,last_epoch=5", "torch refuses the schedule StepLR.*param 'initial_lr' is not"),
        ("StepLR:size=3", "torch refuses the schedule StepLR:size=3: got an unexpected keyword argument"),
        ("OneCycleLR:max_lr=1", "torch refuses the schedule OneCycleLR:max_lr=1: You must define either"),
        ("CyclicLR:base_lr=0.1,max_lr=1", "torch refuses the schedule CyclicLR:.*momentum"),
    ],
)
def test_what_torch_refuses_of_a_schedule_is_told(schedule: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trace(design("adagrad", steps=1, schedule=schedule))
