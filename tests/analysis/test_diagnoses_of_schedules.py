"""Schedules that do not fit the run, beside those that are meant. Each limit is tried on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import cos, pi
from typing import Any

import pytest
from support.trainings import INTERRUPTED, seen, stepped

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.records.findings import Diagnosis
from optitrace.records.training import LearningRateEvent, OptimizerTrace, Scheduling, Tally, TrainingRecord


def of(lrs: Sequence[float], scheduling: Scheduling | None = None, **changes: Any) -> OptimizerTrace:
    """Return SGD on gradients of norm 0.2 with these lrs: each step moves the weights by lr times that."""
    updates = [0.2 * lr for lr in lrs]
    columns = {"lr": lrs, "update_norm": updates, "update_ratio": [update / 20 for update in updates]}
    return stepped(steps=len(lrs), columns=columns | changes, scheduling=scheduling)


def told(training: TrainingRecord) -> list[tuple[str, int | None]]:
    return [(one.fault, one.step) for one in diagnose(training)]


def only(training: TrainingRecord) -> Diagnosis:
    [found] = diagnose(training)
    return found


def test_an_lr_of_zero_in_a_fifth_of_the_steps_is_told_with_the_first_of_them() -> None:
    found = only(seen(of([0.1] * 16 + [0.0] * 4)))

    assert (found.fault, found.step, found.count, found.severity) == ("lr without effect", 17, 4, "fault")
    assert found.fact == "the lr of SGD is 0, in 4 of 20 steps, from step 17 on"
    assert found.remedy == "these steps train nothing: compute the schedule for as many steps as are taken"


@pytest.mark.parametrize(
    "lrs",
    [
        [0.1] * 17 + [0.0] * 3,
        [0.0, *[0.1] * 19],  # a warm-up from zero
        [0.05 * (1 + cos(pi * step / 19)) for step in range(20)],  # 0 in the last step alone
        [0.1, 0.0, 0.1, 0.1],
    ],
)
def test_an_lr_of_zero_at_the_start_or_the_end_of_a_schedule_is_none(lrs: list[float]) -> None:
    assert told(seen(of(lrs))) == []


def test_an_lr_of_zero_between_two_phases_says_where_it_ends() -> None:
    found = only(seen(of([0.1] * 5 + [0.0] * 5 + [0.1] * 10)))

    assert found.fact == "the lr of SGD is 0, in 5 of 20 steps, from step 6 on to step 10"


def test_an_lr_below_what_rounding_leaves_of_the_largest_is_told() -> None:
    plateau = Scheduling(("ReduceLROnPlateau",), 3)
    found = only(seen(of([0.1] * 10 + [1e-9] * 10, plateau)))

    assert (
        found.fact
        == "the lr of SGD is 1e-09 or less, 1e-08 of its largest, in 10 of 20 steps, from step 11 on"
    )
    assert found.remedy.endswith(
        "tell ReduceLROnPlateau with mode='max' that what it watches is to rise, or give it a min_lr"
    )
    assert told(seen(of([0.1] * 10 + [1e-8] * 10, plateau))) == []  # 1e-7 of the largest: above 2**-24


def test_an_lr_with_which_no_weight_moves_is_told_as_that() -> None:
    still = [0.02] * 10 + [0.0] * 10
    found = only(seen(of([0.1] * 10 + [1e-4] * 10, update_norm=still)))

    assert found.fact == (
        "the lr of SGD is so small that no weight moves, 0.0001 at first, in 10 of 20 steps, from step 11 on"
    )
    # updates of zero at the usual lr, or without a gradient, have another cause
    assert told(seen(of([0.1] * 20, update_norm=still))) == []
    without = [0.2] * 10 + [0.0] * 10
    assert told(seen(of([0.1] * 10 + [0.0] * 10, gradient_norm=without))) == []


LINEAR = Scheduling(("LinearLR",), 100, course=10, reached=100, late=1)


def falling(to: float, by: int, steps: int = 100) -> list[float]:
    """Return an lr that falls in a line from 0.1 to a part of that, and stays."""
    return [0.1 * (1 + (to - 1) * min(step / by, 1)) for step in range(steps)]


def test_a_descent_that_is_over_at_a_tenth_of_the_run_is_told_with_the_first_step_after_it() -> None:
    found = only(seen(of(falling(0.01, 10), LINEAR)))

    assert (found.fault, found.step, found.severity) == ("schedule over early", 11, "remark")
    assert found.fact == (
        "the schedule of LinearLR is over after 10 steps of its own, at step 11 of 100 of SGD, "
        "and leaves lr 0.001 of 0.1 to the rest"
    )
    assert found.numbers == {"course": 10, "steps": 100, "lr": pytest.approx(0.001)}


@pytest.mark.parametrize(
    ("lrs", "course"),
    [
        ([0.01 + 0.09 * min(step / 10, 1) for step in range(100)], 10),  # a warm-up
        (falling(0.5, 10), 10),  # not far down
        (falling(0.01, 21), 21),  # over later than at a fifth
    ],
)
def test_a_schedule_whose_end_is_meant_is_not_told(lrs: list[float], course: int) -> None:
    assert told(seen(of(lrs, replace(LINEAR, course=course)))) == []


def test_a_descent_that_counts_epochs_ends_after_so_many_steps_of_the_optimizer() -> None:
    # ten steps of the optimizer to one of the scheduler, whose course of 2 of 12 ends with step 20
    lrs = [0.1] * 10 + [0.05] * 10 + [0.001] * 100

    assert told(seen(of(lrs, Scheduling(("LinearLR",), 12, course=2, reached=12)))) == [
        ("schedule over early", 21)
    ]


def cosine(steps: int, course: int) -> list[float]:
    return [0.05 * (1 + cos(pi * step / course)) for step in range(steps)]


def test_a_cosine_that_goes_on_beyond_its_course_is_told_where_it_turns() -> None:
    scheduling = Scheduling(("CosineAnnealingLR",), 96, course=24, reached=96)
    found = only(seen(of(cosine(96, 24), scheduling)))

    # the lr of step k is that after k - 1 steps of the scheduler: 0 at 25, 0.1 again after 48, at 49
    assert (found.fault, found.step, found.severity) == ("schedule turns back", 25, "remark")
    assert found.fact == (
        "the schedule of CosineAnnealingLR is over after 24 steps of its own, at step 25 of SGD, and goes on "
        "to 96: the lr rises again, from 0 to 0.1 at step 49"
    )
    for course, steps in ((24, 24), (24, 25), (96, 96)):
        right = Scheduling(("CosineAnnealingLR",), steps, course=course, reached=steps)
        assert told(seen(of(cosine(steps, course), right))) == []


def test_a_schedule_of_which_a_quarter_was_taken_is_told_at_the_end_of_the_run() -> None:
    cut = Scheduling(("OneCycleLR",), 24, course=96, reached=24)
    found = only(seen(of([0.1] * 24, cut)))

    assert (found.fault, found.step, found.severity) == ("schedule cut short", 24, "remark")
    assert found.fact == (
        "the schedule of OneCycleLR is for 96 steps, and is at 24 when the run ends, after 24 steps of SGD: "
        "the last lr is 0.1"
    )
    assert told(seen(of([0.1] * 24, cut), outcome=INTERRUPTED)) == []
    # with the 72 steps before a loaded state it is at its end; a run that stops early may be at 49
    assert told(seen(of([0.1] * 24, replace(cut, reached=96)))) == []
    assert told(seen(of([0.1] * 49, Scheduling(("OneCycleLR",), 49, course=96, reached=49)))) == []
    assert told(seen(of([0.1] * 10, Scheduling(("OneCycleLR",), 10, course=96, reached=10)))) == []


def test_a_schedule_over_two_sets_of_parameters_is_not_judged_by_the_first() -> None:
    first = of([0.1] * 12, Scheduling(("OneCycleLR",), 24, course=96, reached=24))
    later = stepped("SGD, from step 13 on", steps=12, taken=24)

    assert told(seen(first, later)) == []


OLD = of([0.1] * 15, Scheduling(("ExponentialLR",), 8, reached=8, late=6))


def test_a_scheduler_of_an_optimizer_that_steps_no_more_is_told_of_the_one_in_its_place() -> None:
    new = replace(of([0.05] * 25), name="SGD 2", takes_over="SGD")
    found = only(seen(OLD, new))

    assert (found.fault, found.optimizer, found.step) == ("scheduler of another optimizer", "SGD 2", 1)
    assert found.severity == "fault"
    assert found.fact == (
        "ExponentialLR took 6 steps after the last step of its optimizer SGD; SGD 2 moves parameters of that "
        "since, and keeps lr 0.05"
    )
    assert found.remedy == "make a new scheduler over SGD 2, and step that"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OLD, {"takes_over": ""}),  # of another model
        (OLD, {"takes_over": "SGD", "scheduling": Scheduling(("ExponentialLR",), 5)}),
        (OLD, {"takes_over": "SGD", "columns": of([0.05, *[0.04] * 24]).columns}),  # copied over by hand
        (replace(OLD, scheduling=Scheduling(("StepLR",), 3, late=1)), {"takes_over": "SGD"}),
    ],
)
def test_a_scheduler_that_ends_with_its_optimizer_is_none(old: OptimizerTrace, new: dict[str, Any]) -> None:
    assert told(seen(old, replace(of([0.05] * 25), name="SGD 2", **new))) == []


def test_an_lr_that_loading_has_replaced_is_a_remark() -> None:
    event = LearningRateEvent("replaced by loading", Tally(1, 1), (1e-4,), (0.01,))
    found = only(seen(stepped(lr_events=(event,))))

    assert (found.fault, found.step, found.severity) == ("lr replaced by loading", 1, "remark")
    assert found.fact == (
        "step 1 of SGD uses lr 0.01, which load_state_dict() has set: it was made with lr 0.0001"
    )
