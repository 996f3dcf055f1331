from __future__ import annotations

import copy
import csv
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import rich.console
import torch

import optitrace
from optitrace.errors import UsageError
from optitrace.rules.families.adam_family import adam


def test_a_trace_has_tensors_with_a_first_axis_of_rows() -> None:
    traced = optitrace.trace("adam", steps=3)

    assert traced.steps == [0, 1, 2, 3]
    assert traced.weights.shape == traced.gradient.shape == traced.state["exp_avg"].shape == (4, 2)
    assert traced.loss.shape == traced.lr.shape == traced.state["step"].shape == (4,)
    assert {tensor.dtype for tensor in (traced.weights, traced.loss, traced.state["step"])} == {torch.float64}


def test_tensors_hold_the_documented_numbers_exactly() -> None:
    traced = optitrace.trace("sgd", momentum=0.1, steps=2, gradient="stale")

    # cell 16, and the bits of float32
    assert traced.weights[2].tolist() == pytest.approx([0.479, 0.458], abs=5e-5)
    assert torch.equal(traced.weights, traced.weights.float().double())
    assert traced.loss[1] == 0.75
    assert traced.gradient[2].tolist() == [1.0, 2.0]


def test_what_the_start_does_not_have_is_nan() -> None:
    traced = optitrace.trace("sgd", momentum=0.1, steps=1)

    for tensor in (traced.loss, traced.gradient, traced.lr, traced.state["momentum_buffer"]):
        assert tensor[0].isnan().all()
        assert not tensor[1].isnan().any()
    assert traced.weights[0].tolist() == [0.5, 0.5]


def test_steps_zero_is_just_the_start() -> None:
    traced = optitrace.trace("sgd", steps=0)

    assert traced.weights.tolist() == [[0.5, 0.5]]
    assert traced.loss.shape == (1,)
    assert traced.state == {}


def test_json_and_csv_hold_the_same_numbers() -> None:
    traced = optitrace.trace("adam", steps=4, every=2)

    rows = list(csv.DictReader(io.StringIO(traced.to_csv())))
    steps = json.loads(traced.to_json())["steps"]
    assert [int(row["step"]) for row in rows] == [step["step"] for step in steps] == traced.steps
    assert [float(row["weights_2"]) for row in rows] == [step["weights"][1] for step in steps]
    assert traced.weights[:, 1].tolist() == [step["weights"][1] for step in steps]


def test_printing_shows_the_table() -> None:
    traced = optitrace.trace("sgd", momentum=0.1, steps=2)

    console = rich.console.Console(width=80, height=50, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(traced)
    for printed in (str(traced), captured.get()):
        assert "sgd(lr=0.01, momentum=0.1)" in printed
        assert "0.4792   0.4588" in printed
    assert repr(traced) == "<Trace of sgd(lr=0.01, momentum=0.1): final loss 0.6506 after 2 steps>"


def test_a_notebook_shows_an_html_table_that_escapes_text() -> None:
    html = optitrace.trace("sgd", steps=80)._repr_html_()

    assert html.count("<tr>") == 1 + 40 + 1
    assert "41 rows more" in html
    assert "<td>0.4900</td>" in html


def test_an_explanation_prints_as_the_command_line_does() -> None:
    explanation = optitrace.explain(optitrace.trace("sgd", steps=1), coordinate=2)

    assert str(explanation).splitlines()[1] == "  w = w − lr·g = 0.5000 − 0.01·2.0000 = 0.4800"
    assert [step.step for step in explanation.steps] == [1]


def test_mistakes_are_errors_with_one_sentence() -> None:
    with pytest.raises(optitrace.OptitraceError, match=r"unknown optimizer 'adem'; did you mean 'adam'\?"):
        optitrace.trace("adem")
    with pytest.raises(optitrace.OptitraceError, match="adam has no momentum; its hyperparameters are lr,"):
        optitrace.trace("adam", momentum=0.9)


def test_importing_imports_no_torch() -> None:
    program = "import sys, optitrace; print('torch' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False False\n"


def test_a_trace_can_be_pickled_and_copied() -> None:
    traced = optitrace.trace("adam", steps=2)

    assert pickle.loads(pickle.dumps(traced)).to_json() == traced.to_json()
    assert copy.deepcopy(traced).to_json() == traced.to_json()


def test_a_trace_is_the_same_in_inference_mode() -> None:
    with torch.inference_mode():
        traced = optitrace.trace("sgd", steps=2, schedule="StepLR:step_size=1", noise=0.1, clip_norm=1.0)

    outside = optitrace.trace("sgd", steps=2, schedule="StepLR:step_size=1", noise=0.1, clip_norm=1.0)
    assert traced.to_json() == outside.to_json()


def test_a_dtype_of_torch_is_taken() -> None:
    assert optitrace.trace("sgd", steps=1, dtype=torch.float64).experiment.dtype == "float64"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: o.trace(torch.nn.Linear), "'Linear' is not an optimizer class; it must derive from"),
        (lambda o: o.trace(None), "the optimizer is None; give a name such as 'sgd' or"),
        (lambda o: o.trace("sgd", objective=torch.sum), "the objective is <built-in .*; give a name, an exp"),
        (lambda o: o.trace("sgd", schedule=3), "schedule is 3; give it as a text, as on the command line"),
        (lambda o: o.trace("sgd", dtype=3), "unknown dtype '3'; choose from: float32"),
        (lambda o: o.compare("sgd"), r"'sgd' is not a trace; make one with trace\('sgd'\), or read"),
        (lambda o: o.diff("sgd", "adam"), "'sgd' is not a trace; make one with"),
        (lambda o: o.explain("sgd"), "'sgd' is not a trace; make one with"),
        (lambda api: api.trace("sgd", every=1.5), r"every is 1\.5; it must be a positive integer"),
        (lambda api: api.trace("sgd", every="2"), "every is '2'; it must be a positive integer"),
        (
            lambda api: api.trace("sgd", dimension="3"),
            "the dimension is '3'; it must be an integer from 1 to",
        ),
        (
            lambda api: api.trace("sgd", dimension=2, condition="10"),
            "the condition number is '10'; it must be",
        ),
        (lambda api: api.trace("sgd", rotate=1.5), r"rotate is 1\.5; it must be an integer from 0 to 2"),
        (lambda api: api.trace("sgd", seed="1"), "seed is '1'; it must be an integer from 0 to 2"),
        (
            lambda api: api.trace("sgd", clip_norm="1"),
            "the largest gradient norm is '1'; it must be a non-neg",
        ),
        (lambda api: api.trace("sgd", device=0), "unknown device '0'; choose from: cpu, cuda"),
        (
            lambda api: api.explain(api.trace("sgd"), precision=-1),
            "precision is -1; it must be an integer from",
        ),
        (lambda api: api.explain(api.trace("sgd"), precision="4"), "precision is '4'; it must be an integer"),
        (
            lambda api: api.explain(api.trace("sgd"), coordinate=0),
            "coordinate is 0; it must be a positive int",
        ),
    ],
)
def test_what_cannot_be_taken_is_told(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call(optitrace)


def plain(w: Any, g: Any, t: int, *, lr: float = 0.5) -> tuple[Any, ...]:
    """Plain descent."""
    w = w - lr * g
    return (w,)


class Descent(torch.optim.SGD):
    pass


def test_a_function_a_rule_and_a_class_are_traced_as_they_are() -> None:
    traced = optitrace.trace(plain, lr=0.25, steps=1, start=(1.0, 1.0))

    assert traced.weights[1].tolist() == [0.5, 0.0]  # w - 0.25 * (2 w1, 4 w2)
    assert traced.experiment.optimizer == f"{__name__}:plain"
    assert "lr·g" in str(optitrace.explain(traced))
    by_class = optitrace.trace(Descent, lr=0.25, steps=1, start=(1.0, 1.0))
    assert by_class.weights[1].tolist() == [0.5, 0.0]
    assert optitrace.trace(torch.optim.Adam).experiment.optimizer == "adam"
    assert optitrace.trace(adam, steps=1).experiment.optimizer == "adam"


def test_a_function_is_swept_as_it_is() -> None:
    swept = optitrace.sweep(plain, {"lr": [0.1, 0.25]}, steps=5)

    assert swept.best_settings == {"lr": 0.25}


def test_what_is_no_optimizer_is_refused_in_a_sentence() -> None:
    with pytest.raises(optitrace.OptitraceError, match=r"^the optimizer is 3; give a name such as"):
        optitrace.trace(3)  # type: ignore[arg-type]

    class Local(torch.optim.SGD):
        pass

    with pytest.raises(optitrace.OptitraceError, match="cannot be found by its name; define it"):
        optitrace.trace(Local)
