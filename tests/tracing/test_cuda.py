from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count

import pytest
import torch
from support.naive import differences, naive_steps

from optitrace.errors import DeviceError
from optitrace.experiment.experiment import GRADIENTS, design
from optitrace.records.trace import Outcome, Status, TraceRecord
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.tracing.series import BLOCK
from optitrace.tracing.tracer import trace

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

TOLERANCE = 1e-4
"""Relative, in float32: the devices add and take roots in another order, and runs drift apart."""

MUON_TOLERANCE = 2e-2
"""Muon's iteration is computed in bfloat16, whose numbers lie 2**-8 apart."""

SYNCHRONISING = {"adafactor", "asgd", "lbfgs", "sparseadam"}
"""The optimizers that wait for the device themselves: for a norm, a scalar, a loss, a gradient's zeros."""

RUNS = [
    pytest.param(name, implementation, gradient, id=f"{name} {implementation} {gradient}")
    for name, optimizer in TORCH_OPTIMIZERS.items()
    for implementation in optimizer.implementations
    for gradient in GRADIENTS
    if (name, gradient) != ("lbfgs", "stale")
]


def close(traced: TraceRecord, expected: TraceRecord, tolerance: float) -> bool:
    """Tell whether two traces hold the same columns, with numbers within a tolerance."""
    columns, others = ({**t.columns, **t.state} for t in (traced, expected))
    return list(traced.steps) == list(expected.steps) and all(
        name in columns
        and columns[name].shape == others[name].shape
        and len(columns[name].values) == len(others[name].values)
        and all(
            math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
            for a, b in zip(columns[name].values, others[name].values, strict=True)
        )
        for name in others
    )


@pytest.mark.parametrize(("name", "implementation", "gradient"), RUNS)
def test_a_trace_on_cuda_is_that_on_the_cpu_within_a_tolerance(
    name: str, implementation: str, gradient: str
) -> None:
    # lbfgs is at the minimum after a few iterations, and then divides rounding errors by each other
    settings, steps = ({"max_iter": 1}, 3) if name == "lbfgs" else ({}, 20)
    expected, traced = (
        trace(design(name, settings, steps=steps, gradient=gradient, device=device, implementation=way))
        for device, way in (("cpu", "single"), ("cuda", implementation))
    )

    assert traced.experiment.device == "cuda"
    assert set(traced.state) == set(expected.state)
    assert close(traced, expected, MUON_TOLERANCE if name == "muon" else TOLERANCE)


@pytest.mark.parametrize(("name", "implementation", "gradient"), RUNS)
def test_a_trace_on_cuda_has_the_bits_of_a_loop_by_hand_there(
    name: str, implementation: str, gradient: str
) -> None:
    experiment = design(name, steps=5, gradient=gradient, device="cuda:0", implementation=implementation)

    assert differences(trace(experiment), naive_steps(experiment)) == []


def test_a_trace_on_cuda_that_differs_is_noticed() -> None:
    expected = trace(design("adam", steps=3))

    assert not close(trace(design("adam", {"lr": 0.0101}, steps=3, device="cuda")), expected, TOLERANCE)


@pytest.mark.parametrize("every", [1, 1000])
def test_blocks_are_fetched_whole_and_the_last_step_is_kept(every: int) -> None:
    steps = 2 * BLOCK + 5
    traced = trace(design("adam", steps=steps, device="cuda"), every=every)

    assert list(traced.steps) == [k for k in range(steps + 1) if k % every == 0 or k == steps]
    assert list(traced.state["step"].values) == [float(k) for k in traced.steps[1:]]
    assert traced.weights.row(len(traced.steps) - 1) is not None


def test_divergence_is_found_at_the_same_step_as_on_the_cpu() -> None:
    outcomes = {
        trace(design("sgd", {"lr": 0.6}, steps=300, device=device)).outcome for device in ("cpu", "cuda")
    }

    assert outcomes == {Outcome(Status.NON_FINITE, 134, "loss")}


@pytest.mark.parametrize("index", [torch.cuda.device_count(), 256, 999_999_999])
def test_a_device_after_the_last_is_told(index: int) -> None:
    with pytest.raises(
        DeviceError, match=rf"^there is no device 'cuda:{index}'; the last of the \d+ is cuda:\d+\.$"
    ):
        trace(design("sgd", device=f"cuda:{index}"))


@pytest.fixture
def waiting_is_an_error() -> Iterator[Callable[[], None]]:
    """Return a function from whose call on torch raises an error wherever it waits for the device."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize(
    ("name", "implementation"),
    [
        (name, way)
        for name, optimizer in TORCH_OPTIMIZERS.items()
        if name not in SYNCHRONISING
        for way in optimizer.implementations
    ],
)
def test_no_step_but_the_first_waits_for_the_device(
    name: str, implementation: str, gradient: str, waiting_is_an_error: Callable[[], None]
) -> None:
    experiment = design(name, gradient=gradient, device="cuda", implementation=implementation)
    asked = count()

    def stop_after_six() -> bool:
        """Forbid waiting after step 1, and allow it again after step 6, when the numbers are fetched."""
        taken = next(asked)
        if taken == 1:
            waiting_is_an_error()
        if taken == 6:
            torch.cuda.set_sync_debug_mode("default")
        return taken == 6

    traced = trace(experiment, stop=stop_after_six)

    assert traced.weights.values == trace(experiment).weights.values[: 2 * 7]


def test_waiting_for_the_device_would_be_noticed(waiting_is_an_error: Callable[[], None]) -> None:
    value = torch.ones(1, device="cuda")
    waiting_is_an_error()

    with pytest.raises(RuntimeError, match="synchroniz"):
        value.item()
