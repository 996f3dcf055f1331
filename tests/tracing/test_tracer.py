from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor

from optitrace.errors import DeviceError, UsageError
from optitrace.experiment.experiment import Experiment, design
from optitrace.experiment.objective import LossFunction, Quadratic
from optitrace.experiment.settings import DTYPES
from optitrace.records.trace import Outcome, Status, TraceRecord
from optitrace.records.writer import json_chunks
from optitrace.rules.catalogue import OPTIMIZERS
from optitrace.tracing import recorder
from optitrace.tracing.series import BLOCK, DeviceSeries, Series, series_like
from optitrace.tracing.tracer import trace


def text_of(traced: TraceRecord) -> str:
    return "".join(json_chunks(traced))


def stopping_after(steps: int) -> Callable[[], bool]:
    asked = count()
    return lambda: next(asked) >= steps


@dataclass(frozen=True)
class Failing(Quadratic):
    """A quadratic whose loss fails when it is evaluated once too often."""

    evaluation: int = 5
    error: BaseException | None = None

    def loss(self, dtype: torch.dtype, device: torch.device) -> LossFunction:
        evaluations = count(1)
        sound = Quadratic.loss(self, dtype, device)

        def loss(w: Tensor) -> Tensor:
            if next(evaluations) == self.evaluation and self.error:
                raise self.error
            return sound(w)

        return loss


def failing(experiment: Experiment, evaluation: int, error: BaseException) -> Experiment:
    return replace(experiment, objective=Failing(evaluation=evaluation, error=error))


def test_the_documented_momentum_run_comes_out_by_hand() -> None:
    traced = trace(design("sgd", {"momentum": 0.5, "lr": 0.25}, steps=2, dtype="float64"))

    # gradient (2w1, 4w2) = (1, 2); w = 0.5 - 0.25·(1, 2); then the gradient is (0.5, 0), b = (1, 1)
    assert list(traced.steps) == [0, 1, 2]
    assert list(traced.loss.values) == [0.75, 0.0625]
    assert list(traced.gradient.values) == [1, 2, 0.5, 0]
    assert list(traced.weights.values) == [0.5, 0.5, 0.25, 0, 0, -0.25]
    assert list(traced.state["momentum_buffer"].values) == [1, 2, 1, 1]
    assert traced.final_loss == 0.125
    assert traced.outcome == Outcome()


def test_no_step_shows_just_the_start() -> None:
    traced = trace(design("adam", steps=0))

    assert list(traced.steps) == [0]
    assert traced.weights.row(0) == (0.5, 0.5)
    assert [traced.loss.row(0), traced.gradient.row(0), traced.lr.row(0)] == [None] * 3
    assert traced.state == {}
    assert (traced.final_loss, traced.outcome.status) == (0.75, Status.COMPLETED)


def test_a_trace_names_the_torch_that_made_it() -> None:
    assert trace(design("sgd", steps=0)).versions.torch == torch.__version__


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_thinning_a_trace_leaves_out_rows_and_changes_no_number(name: str) -> None:
    whole, thinned = (trace(design(name, steps=11), every=every) for every in (1, 4))

    assert list(thinned.steps) == [0, 4, 8, 11]
    for column in ("loss", "gradient", "weights", "lr"):
        expected = [whole.columns[column].row(step) for step in thinned.steps]
        assert repr([thinned.columns[column].row(row) for row in range(4)]) == repr(
            expected
        )  # NaN is not NaN
    for key, state in whole.state.items():
        assert [thinned.state[key].row(row) for row in range(4)] == [
            state.row(step) for step in thinned.steps
        ]


def test_a_run_that_ends_with_a_block_keeps_its_last_step() -> None:
    traced = trace(design("adam", steps=BLOCK), every=1000)

    assert list(traced.steps) == [0, 1000, BLOCK]
    assert traced.state["step"].row(2) == (float(BLOCK),)


@pytest.mark.parametrize("every", [0, -3])
def test_keeping_every_zeroth_step_is_refused(every: int) -> None:
    with pytest.raises(UsageError, match=rf"^every is {every}; it must be a positive integer\.$"):
        trace(design("sgd"), every=every)


@pytest.mark.parametrize("every", [1, 2, 500])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_recorded_on_a_device_has_the_same_trace(
    name: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = design(name, {"max_iter": 1} if name == "lbfgs" else {}, steps=7, start=(1.5, -0.25))
    expected = trace(experiment, every=every)
    made: list[DeviceSeries] = []

    def on_device(value: Any) -> Series:
        if not isinstance(value, Tensor):
            return series_like(value)
        made.append(DeviceSeries(value))
        return made[-1]

    monkeypatch.setattr(recorder, "series_like", on_device)

    assert text_of(trace(experiment, every=every)) == text_of(expected)
    assert made
    assert not any(series._buffer.requires_grad for series in made)


def test_a_long_diverging_run_recorded_on_a_device_has_the_same_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = design("sgd", {"lr": 0.6, "momentum": 0.1}, steps=BLOCK + 300, dtype="float64")
    expected = trace(experiment, every=7)
    monkeypatch.setattr(
        recorder, "series_like", lambda v: DeviceSeries(v) if isinstance(v, Tensor) else series_like(v)
    )

    assert text_of(trace(experiment, every=7)) == text_of(expected)


def first_fault(experiment: Experiment) -> tuple[int, str]:
    """Return the first step with a number that is not finite and the quantity, found in all the rows."""
    traced = trace(experiment)
    order = [("loss", traced.loss), ("gradient", traced.gradient), *traced.state.items()]
    for row in range(1, len(traced.steps)):
        for name, column in [*order, ("weights", traced.weights)]:
            if not all(map(math.isfinite, column.row(row) or ())):
                return traced.steps[row], name
    raise AssertionError("all numbers are finite")


@pytest.mark.parametrize(
    ("settings", "dtype", "block"),
    [
        # each step multiplies w2 by -1.4: 0.5·1.4^k overflows float32's largest square, 1.8e19, at k = 134
        ({"lr": 0.6}, "float32", 0),
        ({"lr": 0.6, "momentum": 0.1}, "float32", 0),
        ({"lr": 1e20}, "float32", 0),
        # and float64's, 1.3e154, at k = 1057
        ({"lr": 0.6}, "float64", 1),
        ({"lr": 0.6, "momentum": 0.1}, "float64", 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("every", [1, 1000])
def test_divergence_is_traced_on_and_its_first_step_and_quantity_named(
    settings: dict[str, Any], dtype: str, block: int, every: int
) -> None:
    experiment = design("sgd", settings, steps=2000, dtype=dtype)
    step, quantity = first_fault(experiment)
    traced = trace(experiment, every=every)

    assert (step - 1) // BLOCK == block
    assert traced.outcome == Outcome(Status.NON_FINITE, step, quantity)
    assert traced.steps[-1] == 2000
    assert not math.isfinite(traced.final_loss)


def test_the_documented_loss_overflows_at_the_step_that_follows_from_the_rule() -> None:
    # 2·(0.5·1.4^(k-1))² first exceeds the largest float32 at k = 134
    largest = torch.finfo(torch.float32).max
    step = next(k for k in count(1) if 2 * (0.5 * 1.4 ** (k - 1)) ** 2 > largest)

    assert trace(design("sgd", {"lr": 0.6}, steps=300)).outcome == Outcome(Status.NON_FINITE, step, "loss")


def test_a_run_whose_final_loss_alone_is_not_finite_has_not_completed() -> None:
    traced = trace(design("sgd", {"lr": 0.6}, steps=133))

    assert math.isinf(traced.final_loss)
    assert traced.outcome == Outcome(Status.NON_FINITE, 133, "final_loss")


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_run_that_is_stopped_keeps_what_was_traced(after: int) -> None:
    experiment = design("adam", steps=10)
    whole, stopped = trace(experiment), trace(experiment, stop=stopping_after(after))

    assert stopped.outcome == Outcome(Status.INTERRUPTED, after)
    assert list(stopped.steps) == list(range(after + 1))
    assert stopped.weights.values == whole.weights.values[: 2 * (after + 1)]
    assert stopped.final_loss == (whole.loss.row(after + 1) or ())[0]


def test_a_run_that_is_stopped_between_kept_steps_keeps_its_last_step() -> None:
    stopped = trace(design("adam", steps=100), every=10, stop=stopping_after(33))

    assert list(stopped.steps) == [0, 10, 20, 30, 33]
    assert stopped.state["step"].row(4) == (33.0,)


def test_a_run_is_not_asked_to_stop_after_its_last_step() -> None:
    assert trace(design("sgd", steps=3), stop=stopping_after(3)).outcome.status is Status.COMPLETED


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), MemoryError()], ids=repr)
@pytest.mark.parametrize("every", [1, 3])
def test_what_was_recorded_before_memory_ran_out_is_kept(error: BaseException, every: int) -> None:
    experiment = design("adam", steps=10)
    traced = trace(failing(experiment, 5, error), every=every)

    assert traced.outcome == Outcome(Status.OUT_OF_MEMORY, 4)
    assert list(traced.steps) == ([0, 1, 2, 3, 4] if every == 1 else [0, 3, 4])
    assert traced.weights.row(len(traced.steps) - 1) == trace(experiment).weights.row(4)
    assert math.isnan(traced.final_loss)


def test_memory_that_runs_out_before_the_first_step_is_told() -> None:
    experiment = failing(design("sgd", gradient="stale"), 1, torch.OutOfMemoryError("full"))

    with pytest.raises(DeviceError, match=r"^cpu ran out of memory before the first step; use fewer"):
        trace(experiment)


def test_an_error_after_the_first_step_is_not_taken_for_a_refusal() -> None:
    with pytest.raises(RuntimeError, match=r"^too often$"):
        trace(failing(design("sgd"), 2, RuntimeError("too often")))


@pytest.mark.parametrize(
    "error", [RuntimeError("no kernel.\nSee the log."), AssertionError("no kernel")], ids=repr
)
def test_an_error_of_the_first_step_is_told_as_torchs_refusal(error: BaseException) -> None:
    sentence = r"^torch cannot take a step of adam in float16 on cpu \(foreach\): no kernel\.$"

    with pytest.raises(UsageError, match=sentence):
        trace(failing(design("adam", dtype="float16", implementation="foreach"), 1, error))


def test_an_error_that_is_raised_in_torch_is_told_as_torchs() -> None:
    strong = {"line_search_fn": "strong_wolfe"}
    sentence = (
        r"^torch cannot take a step of lbfgs in float32 on cpu \(single\): "
        r"IndexError: list index out of range; the loss is inf there\.$"
    )

    with pytest.raises(UsageError, match=sentence):
        trace(design("lbfgs", strong, objective="w1/0", steps=1))


def test_an_error_that_torch_raises_in_a_later_step_keeps_the_steps_before_it() -> None:
    with pytest.raises(AttributeError, match="none") as raised:
        torch.nn.Linear(1, 1).get_parameter("none")

    traced = trace(failing(design("sgd", steps=3), 2, raised.value))

    assert list(traced.steps) == [0, 1]
    assert traced.outcome.status is Status.FAILED
    assert re.match(r"torch cannot take a step of sgd in .*AttributeError: ", traced.outcome.reason or "")


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("sgd", {"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
        (
            "sgd",
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            "Nesterov momentum requires a momentum and zero dampening",
        ),
        ("sgd", {"momentum": -0.1}, "Invalid momentum value: -0.1"),
        ("sgd", {"lr": -1.0}, "Invalid learning rate: -1.0"),
        ("adam", {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        ("adam", {"eps": -1.0}, "Invalid epsilon value: -1.0"),
        ("adagrad", {"weight_decay": -1.0}, "Invalid weight_decay value: -1.0"),
        ("rprop", {"etas": (1.5, 1.2)}, "Invalid eta values: 1.5, 1.2"),
        ("adadelta", {"rho": 1.5}, "Invalid rho value: 1.5"),
    ],
)
def test_settings_that_torch_refuses_are_told_in_its_words(
    name: str, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError, match=rf"^torch refuses these settings of {name}: {reason}\.$"):
        trace(design(name, settings))


def test_a_number_that_torch_cannot_convert_is_told() -> None:
    with pytest.raises(UsageError, match=r"^torch cannot take a step of sgd in float32 on cpu .*overflow\.$"):
        trace(design("sgd", {"lr": 1e300}))


def test_a_torch_without_the_class_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)

    with pytest.raises(UsageError, match=r"^torch \S+ has no Muon; install a newer torch\.$"):
        trace(design("muon"))


def test_lbfgs_maximizes_where_torch_can() -> None:
    if "maximize" in inspect.signature(torch.optim.LBFGS).parameters:
        losses = trace(design("lbfgs", {"maximize": True}, steps=2)).columns["loss"].values
        assert losses[-1] > losses[0]
    else:
        with pytest.raises(
            UsageError, match=r"^LBFGS of torch \S+ has no maximize; install a newer torch\.$"
        ):
            trace(design("lbfgs", {"maximize": True}))


class OlderAdam(torch.optim.Adam):
    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


def test_a_torch_without_a_setting_is_told_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim, "Adam", OlderAdam)
    trace(design("adam", steps=1))

    with pytest.raises(
        UsageError, match=r"^OlderAdam of torch \S+ has no amsgrad, maximize; install a newer torch\.$"
    ):
        trace(design("adam", {"amsgrad": True, "maximize": True}))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_number_of_coordinates_can_be_traced(name: str) -> None:
    for dimension in (1, 3, 7):
        coefficients = [1.0 + i for i in range(dimension)]
        traced = trace(design(name, coefficients=coefficients, steps=2))

        assert traced.weights.shape == traced.gradient.shape == (dimension,)
        assert traced.gradient.row(1) == tuple(coefficients)  # 2·c·0.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_recorded_number_is_one_of_its_dtype(dtype: str) -> None:
    traced = trace(design("adam", {"lr": 0.3}, steps=5, dtype=dtype))
    for column in (traced.loss, traced.gradient, traced.weights, traced.state["exp_avg_sq"]):
        kept = torch.tensor(list(column.values), dtype=torch.float64)
        assert torch.equal(kept.to(getattr(torch, dtype)).double(), kept)


def test_a_trace_leaves_torchs_settings_as_they_were() -> None:
    before = (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads())
    random = torch.get_rng_state()
    trace(design("adam"))

    assert (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()) == before
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad])
def test_a_trace_is_the_same_in_any_gradient_mode(context: Callable[[], Any]) -> None:
    expected = trace(design("lbfgs", steps=2))
    with context():
        traced = trace(design("lbfgs", steps=2))

    assert traced == expected
