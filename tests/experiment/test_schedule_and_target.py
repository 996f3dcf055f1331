from __future__ import annotations

import inspect

import pytest
from torch.optim import lr_scheduler

from optitrace.errors import UsageError
from optitrace.experiment.experiment import design
from optitrace.experiment.settings import OF_OBJECTS, SCHEDULERS, parse_schedule, parse_target


def test_every_scheduler_of_torch_is_known() -> None:
    classes = {
        name
        for name, value in vars(lr_scheduler).items()
        if inspect.isclass(value)
        and issubclass(value, lr_scheduler.LRScheduler)
        and not name.startswith("_")
        and name != "LRScheduler"
    }

    assert classes == {*SCHEDULERS, *OF_OBJECTS}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("StepLR:step_size=10,gamma=0.5", "StepLR:step_size=10,gamma=0.5"),
        ("steplr:step_size=10", "StepLR:step_size=10"),
        ("MultiStepLR: milestones=3;6 , gamma=1e-1", "MultiStepLR:milestones=3;6,gamma=0.1"),
        ("MultiStepLR:milestones=3", None),
        ("CyclicLR:base_lr=0.1,max_lr=1,cycle_momentum=false", None),
        ("ReduceLROnPlateau", "ReduceLROnPlateau"),
        ("OneCycleLR:max_lr=1,total_steps=5,anneal_strategy=linear", None),
    ],
)
def test_a_schedule_is_written_as_it_is_read(text: str, written: str | None) -> None:
    schedule = parse_schedule(text)

    assert str(schedule) == (written or text)
    assert parse_schedule(str(schedule)) == schedule


def test_one_milestone_is_a_sequence_of_one() -> None:
    assert parse_schedule("MultiStepLR:milestones=3").arguments == {"milestones": (3,)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("StepLRR", r"unknown scheduler 'StepLRR'; did you mean 'StepLR'\? choose from: ConstantLR,"),
        ("zzz", "unknown scheduler 'zzz'; choose from: ConstantLR,"),
        (
            "LambdaLR",
            "the scheduler LambdaLR takes Python objects, which cannot be written as text; use another",
        ),
        ("StepLR:10", "the schedule's '10' is not an argument; write key=value, as in StepLR:step_size=10"),
        ("StepLR:step_size=", "the schedule's 'step_size=' is not an argument"),
        ("StepLR:step_size=1,step_size=2", "the schedule gives step_size twice; give it once"),
        ("", "unknown scheduler ''; choose from: ConstantLR,"),
    ],
)
def test_a_text_that_is_no_schedule_is_told(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [("loss<1e-6", "loss<1e-06"), (" gradient < 0.5 ", "gradient<0.5"), ("distance<1", None)],
)
def test_a_target_is_written_as_it_is_read(text: str, written: str | None) -> None:
    target = parse_target(text)

    assert str(target) == (written or text)
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss", "the target 'loss' has no '<'; write it as loss<1e-6"),
        ("loss>1", "the target 'loss>1' has no '<'"),
        ("lss<1", r"unknown quantity 'lss' in a target; did you mean 'loss'\? choose from: loss, gradient"),
        ("loss<small", "the limit of a target is 'small'; it must be a number, as in loss<1e-6"),
        ("loss<nan", "the limit of a target is 'nan'; it must be a number"),
    ],
)
def test_a_text_that_is_no_target_is_told(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_target(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": -1.0}, "the noise is -1.0; it must be a non-negative number"),
        ({"noise": float("nan")}, "the noise is nan; it must be a non-negative number"),
        ({"clip_norm": -0.5}, "the largest gradient norm is -0.5; it must be a non-negative number"),
        ({"clip_value": float("inf")}, "the largest gradient value is inf; it must be a non-negative number"),
        ({"seed": -1}, "seed is -1; it must be an integer from 0 to 2"),
        ({"objective": "saddle", "until": "distance<1"}, "no minimum of the saddle is known, so no distance"),
        ({"objective": "booth", "start": (1, 2, 3)}, "the start has 3 coordinates and the booth 2 weights"),
    ],
)
def test_a_setting_that_cannot_be_is_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        design("sgd", **settings)  # type: ignore[arg-type]
