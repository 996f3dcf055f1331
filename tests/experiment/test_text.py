"""Experiments as text: every experiment can be written as one, and what is wrong with one is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optitrace.errors import UsageError
from optitrace.experiment.experiment import design
from optitrace.experiment.settings import DTYPES
from optitrace.experiment.text import design_text, parse_text, text_of

CASES = {
    "sgd": design("sgd"),
    "SGD:momentum=0.9,nesterov=true": design("sgd", {"momentum": 0.9, "nesterov": True}),
    "adam:betas=0.9;0.99,dtype=float64": design("adam", {"betas": (0.9, 0.99)}, dtype="float64"),
    "adam:weight-decay=0.1": design("adam", {"weight_decay": 0.1}),
    "sgd:start=1;2;3,coefficients=1;2;3": design("sgd", start=[1, 2, 3], coefficients=[1, 2, 3]),
    "adam:implementation=fused,gradient=stale,steps=3": design(
        "adam", implementation="fused", gradient="stale", steps=3
    ),
    "sgd: lr = 0.1 , momentum = 0.5": design("sgd", {"lr": 0.1, "momentum": 0.5}),
    "sgd:device=cuda:1": design("sgd", device="cuda:1"),
    "adafactor:eps=none;0.001": design("adafactor"),
    "sgd:schedule=StepLR:step_size=10;gamma=0.5,steps=3": design(
        "sgd", schedule="StepLR:step_size=10,gamma=0.5", steps=3
    ),
}


@pytest.mark.parametrize("text", CASES)
def test_a_text_stands_for_an_experiment(text: str) -> None:
    assert design_text(parse_text(text)) == CASES[text]


@given(
    name=st.sampled_from(["sgd", "adam", "rprop", "adafactor"]),
    lr=st.floats(1e-300, 1e300),
    start=st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=3),
    steps=st.integers(0, 10**6),
    dtype=st.sampled_from(["float32", "float64", "bfloat16"]),
    gradient=st.sampled_from(["fresh", "stale"]),
    device=st.sampled_from(["cpu", "cuda", "cuda:1"]),
    implementation=st.sampled_from(["single", "foreach"]),
)
def test_every_experiment_can_be_written_as_text(
    name: str, lr: float, start: list[float], **settings: str
) -> None:
    coefficients = [float(k + 1) for k in range(len(start))]
    experiment = design(name, {"lr": lr}, start=start, coefficients=coefficients, **settings)  # type: ignore[arg-type]

    assert design_text(parse_text(text_of(experiment))) == experiment


@pytest.mark.parametrize(
    "schedule", ["StepLR:step_size=10,gamma=0.5", "MultiStepLR:milestones=3;6,gamma=0.5"]
)
def test_a_schedule_of_several_arguments_can_be_written_as_text(schedule: str) -> None:
    experiment = design("sgd", schedule=schedule)

    assert design_text(parse_text(text_of(experiment))) == experiment


def test_what_a_text_does_not_say_is_taken_from_elsewhere() -> None:
    text = parse_text("sgd:lr=0.5").over({"lr": "0.1", "steps": "3"})

    assert design_text(text) == design("sgd", {"lr": 0.5}, steps=3)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("./mine.py:Lion", "./mine.py:Lion"),
        ("./mine.py:Lion:lr=0.1", "./mine.py:Lion"),
        ("package.module:Class:lr=0.1,betas=0.9;0.99", "package.module:Class"),
        (r"C:\mine.py:Lion:lr=0.1", r"C:\mine.py:Lion"),
        ("module:Class", "module:Class"),
    ],
)
def test_a_name_may_have_colons(text: str, name: str) -> None:
    assert parse_text(text).name == name


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("adem", r"unknown optimizer 'adem'; did you mean 'adam'\? 'optitrace list' shows all\."),
        ("sgd:momentun=1", r"sgd has no momentun; did you mean 'momentum'\? its hyperparameters are lr, "),
        ("sgd:momentum", "'sgd:momentum' has a setting without a value, 'momentum'; write NAME:key=value"),
        ("sgd:", "'sgd:' has a setting without a value, ''; write"),
        ("sgd:momentum=", "'sgd:momentum=' has a setting without a value"),
        ("sgd:=1", "'sgd:=1' has a setting without a value, '=1'"),
        ("adam:betas=0.9,0.99", r"numbers are separated by semicolons: betas=A;0\.99\."),
        ("sgd:lr=1,lr=2", r"'sgd:lr=1,lr=2' gives lr twice; give it once\."),
        ("sgd:lr=fast", "sgd: lr must be a number, not 'fast'"),
        ("sgd:steps=-1", "steps is '-1'; it must be a non-negative integer"),
        ("sgd:start=a;b", "start is 'a;b'; it must be numbers separated by commas"),
        ("sgd:dtype=float23", r"unknown dtype 'float23'; did you mean 'float32'\?"),
        ("", "unknown optimizer ''"),
    ],
)
def test_a_mistake_is_told_with_a_remedy(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        design_text(parse_text(text))


@given(st.text() | st.from_regex(r"(sgd|adam):[a-z_]+=[^,]*(,[a-z]+=.*)?", fullmatch=True))
def test_no_text_ends_in_anything_but_an_experiment_or_a_usage_error(text: str) -> None:
    try:
        experiment = design_text(parse_text(text))
    except UsageError:
        return
    assert experiment.dtype in DTYPES
