"""What signal handlers of a program raise is raised in the program, also while the watcher works."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from support.watched import Task, numbers, seen, watching

import optitrace
from optitrace.monitoring.fault_isolation import deferring_handlers
from optitrace.monitoring.gradient_provenance import GradientProvenance
from optitrace.monitoring.monitor import Monitor
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.monitoring.step_metrics import StepMetrics
from optitrace.monitoring.torch_hooks import TorchHooks
from optitrace.monitoring.tracked_optimizer import TrackedOptimizer

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="has no alarms")


WATCHING = f"{Path(optitrace.__file__).parent}/monitoring"


class AlarmError(Exception):
    """What the handler of a program raises."""


@contextmanager
def alarms_to(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def raise_alarm(number: int, frame: FrameType | None) -> None:
    raise AlarmError


def trained(steps: int = 4) -> dict[str, list[float]]:
    """Return what is recorded of a training that nothing disturbs."""
    task = Task()
    with watching() as watcher:
        task.train(torch.optim.SGD(task.model.parameters(), lr=0.1), steps)
    [trace] = seen(watcher).optimizers
    return {name: numbers(trace, name) for name in trace.columns}


def interrupted_in(cls: type, method: str, patch: pytest.MonkeyPatch, number: int = signal.SIGALRM) -> None:
    """Have a signal come whenever a method of the watcher has begun."""
    original = getattr(cls, method)

    def interrupted(self: Any, *given: Any, **more: Any) -> Any:
        signal.raise_signal(number)
        return original(self, *given, **more)

    patch.setattr(cls, method, interrupted)


@pytest.mark.parametrize(
    ("cls", "method", "is_before"),
    [(StepMetrics, "remember", True), (StepMetrics, "measure", False), (TrackedOptimizer, "count", False)],
)
def test_what_a_handler_raises_in_a_hook_is_raised_in_the_program_once_the_hook_is_done(
    cls: type, method: str, is_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = trained()
    task, raised = Task(), 0
    with deferring_handlers(), alarms_to(raise_alarm), watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            task.loss().backward()  # type: ignore[no-untyped-call]
            with monkeypatch.context() as patch:
                interrupted_in(cls, method, patch)
                try:
                    optimizer.step()
                except AlarmError:
                    raised += 1
            if is_before:  # the hook was done, and the step was not begun
                optimizer.step()

    [trace] = seen(watcher).optimizers
    assert raised == 4
    assert {name: numbers(trace, name) for name in trace.columns} == undisturbed


@pytest.mark.parametrize(
    ("cls", "method"),
    [(TrackedOptimizer, "count"), (StepMetrics, "moved")],
    ids=["hook", "hook in a hook"],
)
def test_the_handler_is_given_the_frame_that_called_the_watcher(
    cls: type, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_in(cls, method, monkeypatch)
    frames: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            frames.append(frame.f_code.co_filename)
            frame = frame.f_back

    task = Task()
    with deferring_handlers(), alarms_to(note), watching():
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 1)
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)

    assert frames
    assert __file__ in frames
    assert not any(name.endswith("watcher.py") for name in frames)


def test_keyboard_interrupt_leaves_a_whole_record(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_in(TrackedOptimizer, "count", monkeypatch, signal.SIGINT)
    task = Task()
    with deferring_handlers(), watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        with pytest.raises(KeyboardInterrupt):
            task.train(optimizer, 4)
        monkeypatch.undo()
        task.train(optimizer, 2)

    [trace] = seen(watcher).optimizers
    assert list(trace.steps) == [1, 2, 3]
    assert len(numbers(trace, "weight_norm")) == 3


def is_of_a_hook(frame: FrameType | None) -> bool:
    """Tell whether a handler was called in a hook, or for one: elsewhere an alarm can break torch itself."""
    names = []
    while frame is not None:
        names.append(frame.f_code.co_filename)
        frame = frame.f_back
    return any(WATCHING in name and not name.endswith("signal_deferral.py") for name in names)


@contextmanager
def without_collection() -> Iterator[None]:
    """Put off the collection of garbage while entered."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_thousands_of_alarms_that_raise_are_all_raised_in_the_program() -> None:
    calls = caught = steps = 0
    is_armed = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal calls, is_armed
        if is_armed and is_of_a_hook(sys._getframe()):
            is_armed = False
            calls += 1
            raise AlarmError

    task = Task()
    # torch puts a callback of its own into the garbage collection, where an error is lost
    with without_collection(), deferring_handlers(), alarms_to(handler), watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01, momentum=0.9)
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
        while calls < 2000:
            try:
                is_armed = True
                optimizer.zero_grad()
                task.loss().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                steps += 1
                is_armed = False
            except AlarmError:
                caught += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        task.train(optimizer, 1)

    [trace] = seen(watcher).optimizers
    assert caught == calls
    assert watcher.failures == []
    assert trace.taken >= steps


def test_thousands_of_alarms_change_no_number_of_a_training() -> None:
    undisturbed, calls = trained(300), 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal calls
        calls += 1

    task = Task()
    with deferring_handlers(), alarms_to(handler), watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
        task.train(optimizer, 300)

    [trace] = seen(watcher).optimizers
    assert calls > 300
    assert {name: numbers(trace, name) for name in trace.columns} == undisturbed


def test_an_alarm_that_comes_while_an_optimizer_goes_is_raised_soon_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted_in(TrackedOptimizer, "finish", monkeypatch)
    task, is_raised, begun = Task(), False, time.monotonic()
    with deferring_handlers(), alarms_to(raise_alarm), watching():
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 1)
        try:
            del optimizer
            gc.collect()
            time.sleep(60)
        except AlarmError:
            is_raised = True

    assert is_raised
    assert time.monotonic() - begun < 60
    assert capsys.readouterr().err == ""


def test_handlers_of_two_signals_that_come_in_one_hook_both_run(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_in(TrackedOptimizer, "count", monkeypatch, signal.SIGUSR1)
    interrupted_in(TrackedOptimizer, "count", monkeypatch, signal.SIGALRM)
    called: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        called.append(number)
        raise AlarmError

    task = Task()
    before = signal.signal(signal.SIGUSR1, handler)
    with deferring_handlers(), alarms_to(handler), watching(), pytest.raises(AlarmError):
        task.train(torch.optim.SGD(task.model.parameters(), lr=0.1), 1)
    signal.signal(signal.SIGUSR1, before)

    assert sorted(called) == sorted([signal.SIGUSR1, signal.SIGALRM])


def test_a_program_finds_its_own_handlers_and_they_stay() -> None:
    before = signal.getsignal(signal.SIGINT)
    with alarms_to(raise_alarm):
        with deferring_handlers():
            assert signal.getsignal(signal.SIGALRM) is raise_alarm
            assert signal.getsignal(signal.SIGINT) is before
            with deferring_handlers():
                assert signal.signal(signal.SIGUSR1, raise_alarm) is signal.SIG_DFL
            assert signal.signal(signal.SIGUSR1, signal.SIG_DFL) is raise_alarm
            assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGALRM) is raise_alarm
        with pytest.raises(AlarmError):
            signal.raise_signal(signal.SIGALRM)

    assert signal.getsignal(signal.SIGINT) is before


def test_a_hook_in_another_thread_runs_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    in_hook, go_on = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []
    original = TrackedOptimizer.count

    def slow(self: TrackedOptimizer, *given: Any) -> None:
        in_hook.set()
        go_on.wait(120)
        original(self, *given)

    def handler(number: int, frame: FrameType | None) -> None:
        threads.append(threading.current_thread())

    monkeypatch.setattr(TrackedOptimizer, "count", slow)
    task = Task()
    with deferring_handlers(), alarms_to(handler), watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        worker = threading.Thread(target=task.train, args=(optimizer, 1))
        worker.start()
        in_hook.wait(120)
        signal.raise_signal(signal.SIGALRM)
        at_once = list(threads)
        go_on.set()
        worker.join()

    assert at_once == [threading.main_thread()]
    assert watcher.step == 1


def test_what_waits_for_the_main_thread_runs_in_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, done = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []
    original = StepMetrics.measure

    def interrupted(self: StepMetrics, *given: Any, **more: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGALRM)
            waits.set()
            done.wait(120)
        original(self, *given, **more)

    def train_meanwhile() -> None:
        waits.wait(120)
        other.train(theirs, 1)
        done.set()

    monkeypatch.setattr(StepMetrics, "measure", interrupted)
    task, other = Task(), Task()
    with (
        deferring_handlers(),
        alarms_to(lambda number, frame: threads.append(threading.current_thread())),
        watching(),
    ):
        ours = torch.optim.SGD(task.model.parameters(), lr=0.1)
        theirs = torch.optim.Adam(other.model.parameters())
        worker = threading.Thread(target=train_meanwhile)
        worker.start()
        task.train(ours, 1)
        worker.join()

    assert threads == [threading.main_thread()]


def test_a_training_that_is_watched_from_within_has_its_alarms(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_in(TrackedOptimizer, "count", monkeypatch)
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with alarms_to(raise_alarm), optitrace.watch(optimizer) as training:
        for _ in range(2):
            with pytest.raises(AlarmError):
                task.train(optimizer, 1)

    assert len(training.column("loss")) == 2


@pytest.mark.parametrize("error", [AlarmError, KeyboardInterrupt, SystemExit])
def test_what_another_thread_raises_in_a_hook_goes_on_to_the_program_and_is_told(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, watcher = Task(), Monitor(RecordingConfig())
    interception = TorchHooks(watcher)
    interception.begin()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    task.train(optimizer, 1)
    monkeypatch.setattr(StepMetrics, "measure", in_the_package(raising_from_outside(error)))
    with pytest.raises(error):
        task.train(optimizer, 1)
    interception.end()

    assert [failure.sentence for failure in watcher.failures] == [
        f"SGD was not watched after step 2: {error.__name__}."
    ]


@pytest.mark.parametrize("error", [AlarmError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["zeroed", "before_backward", "after_backward"])
def test_what_another_thread_raises_while_gradients_are_looked_at_goes_on_to_the_program(
    method: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, watcher = Task(), Monitor(RecordingConfig())
    interception = TorchHooks(watcher)
    interception.begin()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    task.train(optimizer, 1)
    monkeypatch.setattr(GradientProvenance, method, in_the_package(raising_from_outside(error)))
    with pytest.raises(error):
        task.train(optimizer, 1)
    interception.end()

    assert [failure.sentence for failure in watcher.failures] == [
        f"nothing was watched after step 1: {error.__name__}."
    ]


def raising_from_outside(error: type[BaseException]) -> Callable[..., None]:
    """Return a function in which an error is raised as another thread raises one: at any of its lines."""

    def interrupted(*given: Any, **more: Any) -> None:
        thread = ctypes.c_ulong(threading.get_ident())
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(error)) == 1
        for _ in range(1000):
            sys.getrecursionlimit()

    return interrupted


def in_the_package(function: Any) -> Any:
    """Return a function as if it stood in the package, so that a line of the watcher is interrupted."""
    code = function.__code__.replace(co_filename=optitrace.__file__)
    return type(function)(code, function.__globals__, None, None, function.__closure__)


def test_an_error_that_the_watcher_causes_in_the_programs_code_is_the_watchers() -> None:
    class Odd:
        def __str__(self) -> str:
            raise AlarmError

    task, watcher = Task(), Monitor(RecordingConfig())
    interception = TorchHooks(watcher)
    interception.begin()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    optimizer.defaults["odd"] = optimizer.param_groups[0]["odd"] = Odd()
    task.train(optimizer, 2)
    interception.end()

    assert [failure.sentence for failure in watcher.failures] == ["SGD was not watched: AlarmError."]


def depth_reached(call: Callable[[], None]) -> int:
    """Return how many calls deep a program gets that makes a call at each depth, until there is no room."""
    try:
        call()
        return 1 + depth_reached(call)
    except RecursionError:
        return 0


def test_a_program_may_be_as_deep_in_calls_as_it_can_be_without_a_watcher() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        optimizer.step()

    limit = sys.getrecursionlimit()
    step()
    alone = depth_reached(step)
    with watching() as watcher:
        under_watch = depth_reached(step)
        assert sys.getrecursionlimit() == limit
        task.train(optimizer, 1)

    [trace] = seen(watcher).optimizers
    assert alone - under_watch <= 5
    assert watcher.failures == []
    assert trace.taken > under_watch


def test_a_recursion_limit_that_the_program_sets_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = sys.getrecursionlimit()
    original = StepMetrics.measure

    def raising_the_limit(self: StepMetrics, *given: Any, **more: Any) -> None:
        sys.setrecursionlimit(limit + 77)
        original(self, *given, **more)

    monkeypatch.setattr(StepMetrics, "measure", raising_the_limit)
    task = Task()
    try:
        with watching():
            task.train(torch.optim.SGD(task.model.parameters(), lr=0.1), 1)
        assert sys.getrecursionlimit() == limit + 77
    finally:
        sys.setrecursionlimit(limit)
