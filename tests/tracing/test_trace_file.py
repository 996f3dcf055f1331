from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from itertools import count
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]

from optitrace.experiment.experiment import GRADIENTS, Experiment, design
from optitrace.experiment.settings import DTYPES
from optitrace.records.trace import Outcome, Status, TraceRecord
from optitrace.records.writer import exact, json_chunks, jsonl_chunks
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.tracing.tracer import trace

DIVERGING = design("sgd", {"lr": 0.8, "momentum": 0.1}, steps=300)
CLIMBING = design("sgd", {"lr": 0.6, "maximize": True}, steps=300, start=(-0.5, 0.5))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(files("optitrace.records").joinpath("trace.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def read(text: str) -> Any:
    """Read JSON as the standard has it, in which there is no NaN and no Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def read_json(traced: TraceRecord) -> Any:
    return read("".join(json_chunks(traced)))


def stopping_after(steps: int) -> Callable[[], bool]:
    asked = count()
    return lambda: next(asked) >= steps


EXPERIMENTS = [
    pytest.param(design(name, steps=3, gradient=gradient), id=f"{name} {gradient}")
    for name in OPTIMIZERS
    for gradient in GRADIENTS
    if (name, gradient) != ("lbfgs", "stale")
]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_optimizers_trace_is_what_the_schema_says(
    experiment: Experiment, validator: Draft202012Validator
) -> None:
    validator.validate(read_json(trace(experiment)))


@pytest.mark.parametrize(
    "experiment",
    [
        design("sgd", steps=0),
        design("adafactor", {"eps": (None, 1e-3)}, steps=1),
        design("lbfgs", {"line_search_fn": "strong_wolfe", "max_eval": 3}, steps=1),
        design("muon", {"adjust_lr_fn": "original"}, coefficients=[1.0, 2.0, 3.0], steps=1),
        DIVERGING,
        *(design("adam", steps=1, dtype=dtype) for dtype in DTYPES),
    ],
    ids=lambda experiment: f"{experiment.optimizer} {experiment.dtype}",
)
def test_a_trace_of_unusual_settings_is_what_the_schema_says(
    experiment: Experiment, validator: Draft202012Validator
) -> None:
    validator.validate(read_json(trace(experiment)))


@pytest.mark.parametrize(
    "outcome", [Outcome(Status.INTERRUPTED, 1), Outcome(Status.OUT_OF_MEMORY, 0)], ids=str
)
def test_a_trace_that_ended_early_is_what_the_schema_says(
    outcome: Outcome, validator: Draft202012Validator
) -> None:
    validator.validate(read_json(replace(trace(DIVERGING), outcome=outcome, final_loss=math.nan)))


def damaged(path: tuple[str | int, ...], value: Any) -> Any:
    """Return a good trace file with one value changed."""
    whole = read_json(trace(design("adam", steps=1)))
    part = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 2),
        (("outcome", "status"), "fine"),
        (("steps",), []),
        (("steps", 1, "loss"), "nan"),
        (("steps", 1, "weights"), None),
        (("steps", 1, "gradient"), [[1.0]]),
        (("steps", 1, "step"), -1),
        (("steps", 1, "state", "exp_avg"), None),
        (("steps", 1, "extra"), 1),
        (("final_loss",), None),
        (("experiment", "dtype"), "int8"),
        (("experiment", "start"), ["NaN"]),
        (("experiment", "device"), "tpu"),
    ],
    ids=str,
)
def test_what_is_not_a_trace_is_not_what_the_schema_says(
    path: tuple[str | int, ...], value: Any, validator: Draft202012Validator
) -> None:
    with pytest.raises(ValidationError, match=r"is not|was expected|non-empty|unexpected|minimum|match"):
        validator.validate(damaged(path, value))


def test_a_trace_file_says_what_was_run_and_how_it_went() -> None:
    experiment = design("SGD", {"lr": 0.25, "momentum": 0.5}, steps=1, dtype="float64", start=[1, -1])
    whole = read_json(trace(experiment))
    versions = whole.pop("versions")

    assert set(versions) == {"optitrace", "torch", "python"}
    assert whole == {
        "schema": 1,
        "experiment": {
            "optimizer": "sgd",
            "hyperparameters": {
                "lr": 0.25,
                "momentum": 0.5,
                "dampening": 0.0,
                "weight_decay": 0.0,
                "nesterov": False,
                "maximize": False,
            },
            "objective": {"name": "quadratic", "coefficients": [1.0, 2.0]},
            "start": [1.0, -1.0],
            "steps": 1,
            "gradient": "fresh",
            "dtype": "float64",
            "device": "cpu",
            "implementation": "single",
        },
        "outcome": {"status": "completed"},
        "steps": [
            {"step": 0, "loss": None, "gradient": None, "weights": [1.0, -1.0], "lr": None, "state": {}},
            {
                "step": 1,
                "loss": 3.0,
                "gradient": [2.0, -4.0],
                "weights": [0.5, 0.0],
                "lr": 0.25,
                "state": {"momentum_buffer": [2.0, -4.0]},
            },
        ],
        "final_loss": 0.25,
    }


@pytest.mark.parametrize(
    "experiment", [design("adam", steps=3), DIVERGING, design("sgd", steps=0)], ids=lambda e: e.optimizer
)
def test_the_lines_of_jsonl_hold_what_json_does(experiment: Experiment) -> None:
    traced = trace(experiment)
    head, *steps = map(read, "".join(jsonl_chunks(traced)).splitlines())

    assert {**head, "steps": steps} == read_json(traced)


@pytest.mark.parametrize("chunks", [json_chunks, jsonl_chunks])
def test_a_file_has_a_line_for_each_step_and_ends_with_a_line(chunks: Callable[[TraceRecord], Any]) -> None:
    text = "".join(chunks(trace(design("sgd", steps=3))))

    assert text.count("\n") == (6 if chunks is json_chunks else 5)
    assert text.endswith("\n")


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_read_back_are_the_very_ones(dtype: str) -> None:
    traced = trace(design("adam", {"lr": 0.1}, steps=50, dtype=dtype))
    rows = read_json(traced)["steps"]

    for quantity, column in traced.columns.items():
        assert [x for row in rows[column.first :] for x in listed(row[quantity])] == list(column.values)
    for name, column in traced.state.items():
        assert [x for row in rows[1:] for x in listed(row["state"][name])] == list(column.values)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_a_number_of_float32_stays_one_when_read_back() -> None:
    weights = read_json(trace(design("sgd", steps=1)))["steps"][1]["weights"]

    # 0.49 and 0.48 as float32 has them
    assert weights == [0.49000000953674316, 0.47999998927116394]
    assert torch.tensor(weights).tolist() == weights


@pytest.mark.parametrize(
    ("experiment", "expected", "final_loss"),
    [
        (DIVERGING, {"Infinity", "NaN"}, "NaN"),
        (CLIMBING, {"Infinity", "-Infinity"}, "Infinity"),
    ],
    ids=["diverging", "climbing"],
)
def test_numbers_that_are_not_finite_are_texts(
    experiment: Experiment, expected: set[str], final_loss: str
) -> None:
    traced = trace(experiment)
    whole = read_json(traced)
    numbers = [x for row in whole["steps"] for x in [row["loss"], *row["weights"]]]

    assert {x for x in numbers if isinstance(x, str)} == expected
    assert whole["final_loss"] == final_loss
    assert whole["outcome"] == {"status": "non-finite", "step": traced.outcome.step, "quantity": "loss"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (-0.0, -0.0), (5e-324, 5e-324)],
)
def test_a_number_is_itself_or_its_name(value: float, expected: float | str) -> None:
    assert repr(exact(value)) == repr(expected)


def test_an_interrupted_trace_says_after_which_step() -> None:
    whole = read_json(trace(design("sgd", steps=10), stop=stopping_after(4)))

    assert whole["outcome"] == {"status": "interrupted", "step": 4}
    assert [row["step"] for row in whole["steps"]] == [0, 1, 2, 3, 4]
    assert whole["experiment"]["steps"] == 10


def test_a_state_entry_that_is_not_there_yet_is_left_out_of_its_rows() -> None:
    steps = read_json(trace(design("lbfgs", steps=1)))["steps"]

    assert steps[0]["state"] == {}
    assert {"func_evals", "n_iter", "d"} <= set(steps[1]["state"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_same_run_gives_the_same_bytes(name: str) -> None:
    texts = {"".join(json_chunks(trace(design(name, steps=20)))) for _ in range(2)}

    assert len(texts) == 1


def test_the_same_run_gives_the_same_bytes_in_another_process() -> None:
    program = """
import sys
from optitrace.experiment.experiment import design
from optitrace.records.writer import json_chunks
from optitrace.tracing.tracer import trace
sys.stdout.write("".join(json_chunks(trace(design("adam", {"lr": 0.1}, steps=20)))))
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    finished = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)

    assert finished.stdout == "".join(json_chunks(trace(design("adam", {"lr": 0.1}, steps=20))))
