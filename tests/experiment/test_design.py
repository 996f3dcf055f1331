from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch

from optitrace.errors import UsageError
from optitrace.experiment.experiment import Experiment, design
from optitrace.experiment.objective import Quadratic
from optitrace.experiment.settings import DTYPES
from optitrace.rules.catalogue import OPTIMIZERS


def test_the_defaults_are_the_documented_experiment() -> None:
    experiment = design("sgd")

    assert experiment == Experiment(
        optimizer="sgd",
        hyperparameters={
            "lr": 0.01,
            "momentum": 0.0,
            "dampening": 0.0,
            "weight_decay": 0.0,
            "nesterov": False,
            "maximize": False,
        },
        objective=Quadratic((1.0, 2.0)),
        start=(0.5, 0.5),
        steps=10,
        gradient="fresh",
        dtype="float32",
        device="cpu",
        implementation="single",
    )


def test_an_experiment_knows_its_optimizer() -> None:
    assert design("AdamW").entry is OPTIMIZERS["adamw"]


def test_an_experiment_cannot_be_changed() -> None:
    experiment: Any = design("sgd")

    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'steps'"):
        experiment.steps = 3


def test_every_coordinate_starts_at_a_half_where_no_start_is_given() -> None:
    assert design("sgd", coefficients=[1, 2, 3, 4]).start == (0.5,) * 4


def test_whole_numbers_and_tensors_become_floats() -> None:
    experiment = design("sgd", coefficients=torch.tensor([1, 2]).tolist(), start=(3, True))

    assert isinstance(experiment.objective, Quadratic)
    assert (experiment.objective, experiment.start) == (Quadratic((1.0, 2.0)), (3.0, 1.0))
    assert isinstance(experiment.objective, Quadratic)
    assert all(type(number) is float for number in (*experiment.objective.coefficients, *experiment.start))


@pytest.mark.parametrize(
    ("name", "device", "chosen"),
    [
        ("sgd", "cpu", "single"),
        ("sgd", "cuda", "foreach"),
        ("adam", "cuda:1", "foreach"),
        ("muon", "cuda", "single"),
        ("lbfgs", "cuda", "single"),
    ],
)
def test_auto_is_foreach_on_cuda_where_there_is_one(name: str, device: str, chosen: str) -> None:
    assert design(name, device=device).implementation == chosen


def test_an_implementation_that_is_asked_for_is_taken() -> None:
    assert design("sgd", device="cuda", implementation="single").implementation == "single"
    assert design("adam", implementation="fused").implementation == "fused"


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0", "cuda:12"])
def test_a_device_is_taken_without_asking_whether_it_is_there(device: str) -> None:
    assert design("sgd", device=device).device == device


@pytest.mark.parametrize("gradient", ["fresh", "accumulated"])
def test_lbfgs_takes_the_gradient_protocols_that_it_can_follow(gradient: str) -> None:
    assert design("lbfgs", gradient=gradient).gradient == gradient


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("adan", {}, r"unknown optimizer 'adan'; did you mean 'adam'\? 'optitrace list' shows all\."),
        ("sgd", {"hyperparameters": {"rho": 0.9}}, r"sgd has no rho; its hyperparameters are lr, .*\."),
        ("sgd", {"hyperparameters": {"lr": math.nan}}, r"sgd: lr is nan; it must be finite\."),
        (
            "sgd",
            {"gradient": "stail"},
            r"unknown gradient protocol 'stail'; did you mean 'stale'\? "
            r"choose from: fresh, stale, accumulated\.",
        ),
        (
            "sgd",
            {"gradient": "zzz"},
            r"unknown gradient protocol 'zzz'; choose from: fresh, stale, accumulated\.",
        ),
        (
            "sgd",
            {"dtype": "float23"},
            r"unknown dtype 'float23'; did you mean 'float32'\? "
            r"choose from: float32, float64, bfloat16, float16\.",
        ),
        ("sgd", {"dtype": "torch\nx"}, r"unknown dtype 'torch\\nx'; choose from: float32, .*\."),
        (
            "sgd",
            {"device": "tpu"},
            r"unknown device 'tpu'; choose from: cpu, cuda, cuda:N \(such as cuda:1\), auto\.",
        ),
        ("sgd", {"device": "meta"}, r"unknown device 'meta'; .*"),
        ("sgd", {"device": "cpu:0"}, r"unknown device 'cpu:0'; .*"),
        ("sgd", {"device": "cuda:-1"}, r"unknown device 'cuda:-1'; .*"),
        ("sgd", {"device": "cuda:01"}, r"unknown device 'cuda:01'; .*"),
        ("sgd", {"device": "cuda:\u0661"}, r"unknown device 'cuda:\u0661'; .*"),
        ("sgd", {"device": "cuda:" + "9" * 5000}, r"unknown device 'cuda:9+\.\.\.9+'; .*"),
        ("sgd", {"device": "cuda:1\n"}, r"unknown device 'cuda:1\\n'; .*"),
        (
            "sgd",
            {"start": [1.0]},
            r"the start has 1 coordinates and the quadratic 2 coefficients; "
            r"give as many of one as of the other\.",
        ),
        (
            "sgd",
            {"coefficients": [1.0], "start": [1.0, 2.0]},
            r"the start has 2 coordinates and the quadratic 1 coefficients; .*",
        ),
        ("sgd", {"start": [1.0, math.inf]}, r"a coordinate of the start is inf; all must be finite\."),
        (
            "sgd",
            {"start": ["a", 1.0]},
            r"the coordinates of the start must be numbers such as .*, not \['a', 1.0\]\.",
        ),
        ("sgd", {"start": "12"}, r"the coordinates of the start must be numbers such as 0.5,0.5, not '12'\."),
        ("sgd", {"start": 0.5}, r"the coordinates of the start must be numbers such as 0.5,0.5, not 0.5\."),
        (
            "sgd",
            {"start": [10**5000, 1]},
            r"the coordinates of the start contain an integer that is too large for every dtype\.",
        ),
        ("sgd", {"coefficients": []}, r"the quadratic has no coefficients; give at least one, as in 1,2\."),
        (
            "sgd",
            {"coefficients": [math.nan]},
            r"a coefficient of the quadratic is nan; all must be finite\.",
        ),
        ("sgd", {"coefficients": [None]}, r"the coefficients must be numbers such as .*, not \[None\]\."),
        (
            "sgd",
            {"start": [1e39, 0.0]},
            r"a coordinate of the start is 1e\+39; the largest float32 number is 3.40282e\+38\.",
        ),
        (
            "sgd",
            {"coefficients": [-70000.0], "dtype": "float16"},
            r"a coefficient of the quadratic is -70000; the largest float16 number is 65504\.",
        ),
        ("sgd", {"steps": -1}, r"steps is -1; it must be a non-negative integer\."),
        ("sgd", {"steps": 2.0}, r"steps is 2\.0; it must be a non-negative integer\."),
        ("sgd", {"steps": True}, r"steps is True; it must be a non-negative integer\."),
        (
            "lbfgs",
            {"gradient": "stale"},
            r"lbfgs evaluates the loss and its gradient itself, several times in a step, "
            r"so no step can use a stale gradient; use 'fresh' or 'accumulated'\.",
        ),
        (
            "adamax",
            {"implementation": "fused"},
            r"torch has no fused implementation of adamax; it has single and foreach\.",
        ),
        (
            "muon",
            {"implementation": "foreach"},
            r"torch has no foreach implementation of muon; it has single\.",
        ),
        (
            "sgd",
            {"implementation": "for"},
            r"unknown implementation 'for'; did you mean 'foreach'\? "
            r"choose from: single, foreach, fused, auto\.",
        ),
    ],
)
def test_what_cannot_be_run_is_told(name: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}$"):
        design(name, **settings)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_number_of_a_dtype_is_that_of_torch(dtype: str) -> None:
    assert DTYPES[dtype] == torch.finfo(getattr(torch, dtype)).max
    assert design("sgd", start=(DTYPES[dtype], -DTYPES[dtype]), dtype=dtype).start[0] == DTYPES[dtype]


def test_designing_an_experiment_imports_no_torch() -> None:
    program = """
import sys
from optitrace.experiment.experiment import design
from optitrace.rules.catalogue import OPTIMIZERS
for name in OPTIMIZERS:
    experiment = design(name, device="cuda")
    experiment.objective.formula, experiment.objective.curvatures, experiment.entry
print("torch" in sys.modules)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (finished.stdout, finished.stderr) == ("False\n", "")


def test_a_setting_that_there_is_not_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"^design\(\) got an unexpected keyword argument 'stepz'$"):
        design("sgd", stepz=3)  # type: ignore[call-arg]
