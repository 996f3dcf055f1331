"""What fails in the watching of one optimizer ends that, and nothing else."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from support.watched import Task, numbers, seen
from torch import Tensor

from optitrace.monitoring import optimizer_registry
from optitrace.monitoring.fault_isolation import Failure
from optitrace.monitoring.gradient_provenance import GradientProvenance
from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.segment_recorder import SegmentRecorder
from optitrace.monitoring.step_metrics import StepMetrics
from optitrace.monitoring.torch_hooks import TorchHooks
from optitrace.monitoring.tracked_optimizer import TrackedOptimizer
from optitrace.records.trace import Status
from optitrace.views.training_wording import ending


@contextmanager
def watching() -> Iterator[Monitor]:
    """Watch every optimizer while entered, whatever fails."""
    watcher = Monitor(RecordingConfig())
    interception = TorchHooks(watcher)
    interception.begin()
    try:
        yield watcher
    finally:
        interception.end()


def parameters(watching: StepMetrics | SegmentRecorder) -> Sequence[Tensor]:
    return watching.members.parameters if isinstance(watching, SegmentRecorder) else watching.parameters


@pytest.mark.parametrize(
    ("cls", "method"),
    [
        (StepMetrics, "gradient_norm"),
        (StepMetrics, "measure"),
        (SegmentRecorder, "has_changed"),
    ],
)
def test_an_optimizer_whose_watching_fails_keeps_its_record_and_the_others_are_watched_on(
    cls: type, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, other = Task(), Task()
    failing: list[bool] = []
    original = getattr(cls, method)

    def fail(self: Any, *arguments: Any, **more: Any) -> Any:
        if failing and any(p is task.model.weight for p in parameters(self)):
            raise MemoryError("no room for a copy of the weights")
        return original(self, *arguments, **more)

    monkeypatch.setattr(cls, method, fail)
    with watching() as watcher:
        ours = torch.optim.SGD(task.model.parameters(), lr=0.1)
        theirs = torch.optim.Adam(other.model.parameters())
        for step in range(4):
            if step == 2:
                failing.append(True)
            task.train(ours, 1)
            other.train(theirs, 1)

    sgd, adam = seen(watcher).optimizers
    assert (list(sgd.steps), list(adam.steps)) == ([1, 2], [1, 2, 3, 4])
    assert len(numbers(sgd, "weight_norm")) == 2
    taken = 3 if method == "measure" else 2  # what comes after a step
    assert [failure.sentence for failure in watcher.failures] == [
        f"ours was not watched after step {taken}: MemoryError: no room for a copy of the weights."
    ]


def test_of_a_watching_that_failed_no_copy_of_the_weights_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[weakref.ref[StepMetrics]] = []

    def fail(self: StepMetrics, *given: Any) -> None:
        copies.append(weakref.ref(self))
        raise MemoryError("no room for a copy of the weights")

    monkeypatch.setattr(StepMetrics, "gradient_norm", fail)
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 3)
    gc.collect()

    assert [copy() for copy in copies] == [None]
    assert len(watcher.failures) == 1


def test_a_training_in_which_a_watching_failed_has_not_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise MemoryError("no room for a copy of the weights")

    task, other = Task(), Task()
    with watching() as watcher:
        task.train(torch.optim.SGD(task.model.parameters(), lr=0.1), 2)
        monkeypatch.setattr(StepMetrics, "gradient_norm", fail)
        other.train(torch.optim.Adam(other.model.parameters()), 2)

    training = seen(watcher)
    assert (training.outcome.status, training.idle) == (Status.FAILED, ())
    assert ending(training) == (
        "failed after 2 steps: the watching of Adam failed: MemoryError: no room for a copy of the weights"
    )
    assert [failure.sentence for failure in watcher.failures] == [
        "Adam was not watched: MemoryError: no room for a copy of the weights."
    ]


def test_what_fails_after_a_closure_leaves_the_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise MemoryError("no room")

    task = Task()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    monkeypatch.setattr(StepMetrics, "gradient_norm", fail)
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        before = task.model.weight.detach().clone()
        for _ in range(2):
            optimizer.step(closure)

    assert not torch.equal(before, task.model.weight)
    assert len(watcher.failures) == 1


def test_an_optimizer_that_cannot_be_known_is_named_by_its_class_and_forgotten_when_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another one may have its place in memory, and so its id: here all have the same."""

    def fail(*arguments: Any) -> None:
        raise ValueError("a parameter of no kind")

    monkeypatch.setattr(optimizer_registry, "id", lambda optimizer: 1, raising=False)
    with watching() as watcher:
        with monkeypatch.context() as patch:
            patch.setattr(TrackedOptimizer, "__init__", fail)
            optimizer = torch.optim.SGD(Task().model.parameters(), lr=0.1)
            optimizer.step()
            del optimizer
        gc.collect()
        task = Task()
        task.train(torch.optim.SGD(task.model.parameters(), lr=0.1), 1)

    assert [f.sentence for f in watcher.failures] == [
        "SGD was not watched: ValueError: a parameter of no kind."
    ]
    assert [trace.taken for trace in seen(watcher).optimizers] == [1]


def test_a_record_that_cannot_be_read_to_its_end_is_kept_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 2)
        assert list(seen(watcher).optimizers[0].steps) == [1, 2]
        task.train(optimizer, 1)

        def fail(rows: Sequence[Any]) -> None:
            if rows:
                raise RuntimeError("the device is lost")

        monkeypatch.setattr("optitrace.monitoring.row_recorder.fetch", fail)
        [trace] = seen(watcher).optimizers
        task.train(optimizer, 1)

    assert (list(trace.steps), trace.taken) == ([1, 2], 3)
    assert [f.sentence for f in watcher.failures] == [
        "SGD was not watched after step 3: RuntimeError: the device is lost."
    ]


def unowned(watcher: Monitor) -> list[str]:
    return [parameter.name for parameter in seen(watcher).unowned]


def test_an_optimizer_that_cannot_be_read_when_it_goes_disturbs_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("the device is lost")

    task = Task()
    with watching() as watcher:
        other = torch.optim.SGD([task.model.bias], lr=0.1)
        optimizer = torch.optim.SGD([task.model.weight], lr=0.1)
        task.train(optimizer, 1)
        with monkeypatch.context() as patch:
            patch.setattr("optitrace.monitoring.row_recorder.fetch", fail)
            del optimizer
            gc.collect()
        task.train(other, 1)

    assert capsys.readouterr().err == ""
    assert len(watcher.failures) == 1
    assert unowned(watcher) == ["weight"]


def test_an_optimizer_that_was_given_up_has_its_parameters_until_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: Any) -> None:
        raise MemoryError("no room for a copy of the weights")

    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD([task.model.weight], lr=0.1)
        with monkeypatch.context() as patch:
            patch.setattr(StepMetrics, "gradient_norm", fail)
            task.train(optimizer, 1)
        other = torch.optim.SGD([task.model.bias], lr=0.1)
        task.train(other, 1)
        assert unowned(watcher) == []
        del optimizer
        gc.collect()

    assert unowned(watcher) == ["weight"]


class Automatic(torch.optim.SGD):
    """An optimizer that knows its lr by itself, as transformers' Adafactor does."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.data.sub_(p.grad)


def test_an_lr_that_is_no_number_is_none() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = Automatic(task.model.parameters(), lr=0.1)
        optimizer.param_groups[0]["lr"] = None
        task.train(optimizer, 2)

    assert not watcher.failures
    assert "lr" not in seen(watcher).optimizers[0].columns


@pytest.mark.parametrize("method", ["before_backward", "after_backward"])
def test_a_history_that_fails_is_that_of_one_optimizer(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, other = Task(), Task()
    original = getattr(GradientProvenance, method)

    def fail(self: GradientProvenance, *arguments: Any) -> None:
        if any(p is task.model.weight for p in self.parameters):
            raise RuntimeError("the device is lost")
        original(self, *arguments)

    monkeypatch.setattr(GradientProvenance, method, fail)
    with watching() as watcher:
        ours = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(ours, 1)
        other.train(torch.optim.Adam(other.model.parameters()), 2)

    [adam] = seen(watcher).optimizers
    assert (adam.name, adam.taken) == ("Adam", 2)
    assert [f.sentence for f in watcher.failures] == [
        "ours was not watched: RuntimeError: the device is lost."
    ]


def test_of_a_failure_that_says_very_much_the_beginning_is_told() -> None:
    failure = Failure("SGD", 2, RuntimeError("no such operator\n" * 500))

    assert len(failure.sentence) < 400
    assert failure.sentence.startswith(
        "SGD was not watched after step 2: RuntimeError: no such operator no such"
    )
    assert failure.sentence.endswith("….")
