from __future__ import annotations

import pytest
import torch
from support.odd_state import PackedMomentum
from support.watched import numbers

import optitrace
from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.torch_hooks import TorchHooks
from optitrace.records.trace import Outcome
from optitrace.records.training import OptimizerTrace, Program
from optitrace.tracing.prescribed_run import PrescribedRun


def watched(wish: RecordingConfig) -> tuple[Monitor, OptimizerTrace]:
    watcher = Monitor(wish)
    interception = TorchHooks(watcher)
    weights = torch.tensor([3.0, 4.0], requires_grad=True)
    optimizer = PackedMomentum([weights], lr=0.5)
    interception.begin()
    try:
        for _ in range(3):
            optimizer.zero_grad()
            weights.square().sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    finally:
        interception.end()
    [trace] = watcher.training(Program(), Outcome()).optimizers
    return watcher, trace


@pytest.mark.parametrize("state", [False, True])
def test_a_state_that_cannot_be_measured_is_no_reason_not_to_watch(state: bool) -> None:
    watcher, trace = watched(RecordingConfig(state=state))

    assert watcher.failures == []
    assert list(trace.steps) == [1, 2, 3]
    # a tenth of the gradient, (6, 8), times an lr of one half
    assert numbers(trace, "update_norm")[0] == pytest.approx(0.5)


def test_a_state_that_cannot_be_measured_is_told_where_it_is_wanted() -> None:
    watcher, trace = watched(RecordingConfig(state=True))
    [sentence] = watcher.unmeasured()

    assert sentence.startswith(
        "exp_avg in the state of PackedMomentum cannot be measured and is left out: "
        "NotImplementedError: Packed has no aten."
    )
    assert list(trace.state) == ["steps"]
    assert watched(RecordingConfig())[0].unmeasured() == []


def test_a_trace_leaves_out_state_that_cannot_be_read() -> None:
    found = optitrace.trace("support.odd_state:PackedMomentum", steps=2).record

    assert list(found.state) == ["steps"]


def test_a_bench_leaves_out_state_that_cannot_be_read() -> None:
    bench = PrescribedRun(PackedMomentum, {}, [(2,)])
    bench.step()

    assert list(bench.state()) == ["steps"]
