"""Which clippings the steps used: told from programs that clip in every place, and by every way."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import pytest
import torch
from support.watched import Task, numbers, only, seen, watching
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import SGD, Adam, Optimizer

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.monitoring.clipping import ClippingCall
from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.records.training import OptimizerTrace, Tally

LIMIT = 0.01
"""Below every gradient of a `Task`."""

STEPS = 24
"""Enough to say that nearly all steps are clipped."""

LR = 1e-3


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def clip(task: Task, limit: float = LIMIT) -> Tensor:
    return clip_grad_norm_(task.model.parameters(), limit)


def watched(program: Callable[[Task], None], **more: Any) -> OptimizerTrace:
    with watching(**more) as watcher:
        program(Task())
    return only(watcher)


def told(program: Callable[[Task], None], **more: Any) -> list[tuple[str, str]]:
    """Return the fault and the severity of what is said of a program."""
    with watching(**more) as watcher:
        program(Task())
    return [(one.fault, one.severity) for one in diagnose(seen(watcher))]


def faults(program: Callable[[Task], None], **more: Any) -> list[tuple[str, str]]:
    """Return what `told` does, without the remarks."""
    return [one for one in told(program, **more) if one[1] == "fault"]


def steps(optimizer: Optimizer) -> Iterator[int]:
    """Yield the number of each step, whose gradient is cleared before and which is taken after."""
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        yield step
        optimizer.step()


# --- clippings that no step uses


def after_step(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad()
        backward(task.loss())
        optimizer.step()
        clip(task)


def before_backward(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in range(STEPS):
        loss = task.loss()
        clip(task)
        optimizer.zero_grad()
        backward(loss)
        optimizer.step()


def between_clearing_and_backward(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in steps(optimizer):
        clip(task)
        backward(task.loss())


def after_step_with_gradients_set_to_zero(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=False)
        backward(task.loss())
        optimizer.step()
        clip(task)


def between_setting_to_zero_and_backward(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=False)
        clip(task)
        backward(task.loss())
        optimizer.step()


def values_after_step(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad()
        backward(task.loss())
        optimizer.step()
        clip_grad_value_(task.model.parameters(), 1e-4)


def after_step_of_accumulated_micro_batches(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad()
        for _ in range(3):
            backward(task.loss())
        optimizer.step()
        clip(task)


UNUSED: dict[Callable[[Task], None], int] = {
    after_step: 2,
    before_backward: 1,
    between_clearing_and_backward: 1,
    after_step_with_gradients_set_to_zero: 2,
    between_setting_to_zero_and_backward: 1,
    values_after_step: 2,
    after_step_of_accumulated_micro_batches: 2,
}
"""By program the first step that a clipping comes too early for."""


@pytest.mark.parametrize("program", UNUSED, ids=lambda program: program.__name__)
@pytest.mark.parametrize("config", [RecordingConfig(), RecordingConfig(parameters=True)], ids=["", "params"])
def test_a_clipping_that_no_step_uses_has_no_effect(
    program: Callable[[Task], None], config: RecordingConfig
) -> None:
    trace = watched(program, config=config)
    first = UNUSED[program]

    assert trace.clippings.keys() == {"before backward"}
    assert trace.clippings["before backward"].steps == Tally(STEPS + 1 - first, first)
    assert "unclipped_gradient_norm" not in trace.columns
    assert faults(program, config=config) == [("clipping without effect", "fault")]


# --- clippings that a step uses


def right(task: Task) -> None:
    for _ in steps(SGD(task.model.parameters(), lr=LR)):
        backward(task.loss())
        clip(task)


def with_noise(task: Task) -> None:
    for _ in steps(SGD(task.model.parameters(), lr=LR)):
        backward(task.loss())
        clip(task)
        for p in task.model.parameters():
            assert p.grad is not None
            p.grad.add_(1e-4 * torch.randn_like(p.grad))
            p.grad.mul_(0.5)


def with_another_tensor_in_its_place(task: Task) -> None:
    for _ in steps(SGD(task.model.parameters(), lr=LR)):
        backward(task.loss())
        clip(task)
        for p in task.model.parameters():
            assert p.grad is not None
            p.grad = p.grad + 1e-4 * torch.randn_like(p.grad)


def parameter_by_parameter(task: Task) -> None:
    for _ in steps(SGD(task.model.parameters(), lr=LR)):
        backward(task.loss())
        for p in task.model.parameters():
            clip_grad_norm_(p, LIMIT)


def one_by_one(task: Task) -> None:
    for _ in steps(SGD(task.model.parameters(), lr=LR)):
        backward(task.loss())
        clip_grad_norm_(task.model.parameters(), LIMIT, foreach=False)


def of_accumulated_micro_batches(task: Task) -> None:
    for _ in steps(SGD(task.model.parameters(), lr=LR)):
        for _ in range(3):
            backward(task.loss())
        clip(task)


def of_norms_computed_before(task: Task) -> None:
    for _ in steps(SGD(task.model.parameters(), lr=LR)):
        backward(task.loss())
        gradients = [p.grad for p in task.model.parameters() if p.grad is not None]
        total = nn.utils.get_total_norm(gradients)
        nn.utils.clip_grads_with_norm_(task.model.parameters(), LIMIT, total)


def in_a_closure(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss()
        backward(loss)
        clip(task)
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)


def and_once_more_after_the_step(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad()
        backward(task.loss())
        clip(task)
        optimizer.step()
        clip(task, LIMIT / 2)


def of_a_stale_gradient(task: Task) -> None:
    """The clipping comes after a step, and the next step uses what it left."""
    optimizer = SGD(task.model.parameters(), lr=LR)
    backward(task.loss())
    for k in range(STEPS):
        clip(task, LIMIT / (k + 1))
        optimizer.step()


USED = (
    right,
    with_noise,
    with_another_tensor_in_its_place,
    parameter_by_parameter,
    one_by_one,
    of_accumulated_micro_batches,
    of_norms_computed_before,
    in_a_closure,
    and_once_more_after_the_step,
    of_a_stale_gradient,
)


@pytest.mark.parametrize("program", USED, ids=lambda program: program.__name__)
def test_a_clipping_that_every_step_uses_is_counted_in_every_step(program: Callable[[Task], None]) -> None:
    trace = watched(program)

    assert trace.clippings.keys() == {"used"}
    assert trace.clippings["used"].steps == trace.clippings["used"].cut == Tally(STEPS, 1)
    assert trace.clippings["used"].parameters == ()
    before, after = (numbers(trace, name) for name in ("unclipped_gradient_norm", "gradient_norm"))
    assert all(b > a for b, a in zip(before, after, strict=True))


def test_a_clipping_with_an_infinite_limit_is_none() -> None:
    def program(task: Task) -> None:
        for _ in steps(SGD(task.model.parameters(), lr=LR)):
            backward(task.loss())
            clip(task, inf)

    trace = watched(program)

    assert trace.clippings == {}
    assert "unclipped_gradient_norm" not in trace.columns


def test_many_parameters_that_are_clipped_one_by_one_are_one_clipping() -> None:
    def program(task: Task) -> None:
        weights = [torch.ones(2, requires_grad=True) for _ in range(100)]
        for _ in steps(SGD(weights, lr=LR)):
            backward(torch.stack([w.sum() for w in weights]).sum())
            for w in weights:
                clip_grad_norm_(w, LIMIT)

    trace = watched(program)

    assert trace.clippings["used"].cut == Tally(STEPS, 1)
    assert trace.clippings["used"].parameters == ()
    assert numbers(trace, "unclipped_gradient_norm")[0] == pytest.approx(200**0.5)


def test_the_norm_before_clipping_is_that_before_the_first_of_several() -> None:
    task = Task()
    backward(task.loss())
    whole = torch.cat([p.grad.reshape(-1) for p in task.model.parameters() if p.grad is not None])
    for program in (right, parameter_by_parameter):
        assert numbers(watched(program), "unclipped_gradient_norm")[0] == pytest.approx(whole.norm().item())


def test_clipping_at_the_right_place_takes_the_fault_away() -> None:
    """The remedy of a clipping without effect, with a limit that is above most norms."""

    def remedied(task: Task) -> None:
        for _ in steps(SGD(task.model.parameters(), lr=LR)):
            backward(task.loss())
            clip(task, 100.0)

    assert told(after_step) == [("clipping without effect", "fault")]
    assert faults(remedied) == []


def test_raising_the_limit_above_the_usual_norm_takes_the_fault_away() -> None:
    def remedied(task: Task) -> None:
        for _ in steps(SGD(task.model.parameters(), lr=LR)):
            backward(task.loss())
            clip(task, 100.0)

    assert told(right) == [("clipped gradient", "fault")]
    assert faults(remedied) == []


# --- neighbours of which nothing is to be said


def norm_only(task: Task) -> None:
    """clip_grad_norm_ tells the norm, for a log."""
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad()
        backward(task.loss())
        optimizer.step()
        clip_grad_norm_(task.model.parameters(), inf, error_if_nonfinite=True)


def limit_that_nothing_reaches(task: Task) -> None:
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad()
        backward(task.loss())
        optimizer.step()
        clip(task, 1e6)


def thrown_away_gradient(task: Task) -> None:
    """What was clipped is for something else than the step, as in two passes over a batch."""
    optimizer = SGD(task.model.parameters(), lr=LR)
    for _ in steps(optimizer):
        backward(task.loss())
        clip(task)
        optimizer.zero_grad()
        backward(task.loss())


def cleared_between_clipping_and_step(task: Task) -> None:
    """A fault of its own, and none of the clipping."""
    optimizer = SGD(task.model.parameters(), lr=LR)
    for step in steps(optimizer):
        backward(task.loss())
        clip(task)
        optimizer.zero_grad(set_to_none=step % 2 == 0)


@pytest.mark.parametrize(
    "program", [norm_only, limit_that_nothing_reaches, thrown_away_gradient], ids=lambda p: p.__name__
)
def test_a_clipping_that_is_for_something_else_is_nothing(program: Callable[[Task], None]) -> None:
    assert told(program) == []
    assert "unclipped_gradient_norm" not in watched(program).columns


def test_of_a_clipping_of_what_is_cleared_then_nothing_is_said() -> None:
    trace = watched(cleared_between_clipping_and_step)

    assert trace.clippings == {}
    assert "unclipped_gradient_norm" not in trace.columns


def test_clippings_that_nobody_uses_do_not_pile_up() -> None:
    """As where the optimizer of frozen parameters takes no step."""
    task = Task()
    with watching():
        optimizer = SGD(task.model.parameters(), lr=LR)
        for _ in range(3):
            optimizer.zero_grad()
            for _ in range(100):
                backward(task.loss())
                clip(task)
        kept = sum(type(one) is ClippingCall for one in gc.get_objects())

    assert kept < 100  # of 300


# --- micro-batches


def after_each_micro_batch(task: Task) -> None:
    for _ in steps(SGD(task.model.parameters(), lr=LR)):
        for _ in range(3):
            backward(task.loss())
            clip(task)


def after_each_but_the_last(task: Task) -> None:
    for _ in steps(SGD(task.model.parameters(), lr=LR)):
        for last in (False, False, True):
            backward(task.loss())
            if not last:
                clip(task)


@pytest.mark.parametrize("program", [after_each_micro_batch, after_each_but_the_last])
def test_clipping_of_micro_batches_is_told_as_that(program: Callable[[Task], None]) -> None:
    assert watched(program).clippings["micro-batch"].steps == Tally(STEPS, 1)
    assert ("clipping of micro-batches", "remark") in told(program)


def test_a_step_whose_last_backward_is_not_clipped_has_no_norm_before_clipping() -> None:
    trace = watched(after_each_but_the_last)

    assert trace.clippings.keys() == {"micro-batch"}
    assert "unclipped_gradient_norm" not in trace.columns


def test_micro_batches_that_reach_a_part_of_the_parameters_are_clipped_as_any() -> None:
    def program(task: Task) -> None:
        for _ in steps(SGD(task.model.parameters(), lr=LR)):
            for last in (False, True):
                backward((task.model.weight * task.inputs[:3]).square().mean())
                if not last:
                    clip(task, 1e-6)

    assert watched(program).clippings["micro-batch"].cut == Tally(STEPS, 1)


def test_a_clipping_after_the_step_of_what_is_not_cleared_is_none_of_micro_batches() -> None:
    def program(task: Task) -> None:
        optimizer = SGD(task.model.parameters(), lr=LR)
        for _ in range(STEPS):
            backward(task.loss())
            optimizer.step()
            clip(task)

    assert told(program) == [("accumulated gradient", "fault")]


# --- scaled gradients


def scaled(
    task: Task, *, unscales: bool, limit: float = LIMIT, make: Callable[..., Optimizer] = SGD, **more: Any
) -> None:
    optimizer = make(task.model.parameters(), lr=LR, **more)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(STEPS):
        optimizer.zero_grad()
        backward(scaler.scale(task.loss()))
        if unscales:
            scaler.unscale_(optimizer)
        clip(task, limit)
        scaler.step(optimizer)
        scaler.update()


@pytest.mark.parametrize("more", [{}, {"make": Adam, "fused": True}], ids=["", "fused"])
def test_a_clipping_on_a_scaled_gradient_is_told_with_the_scale(more: dict[str, Any]) -> None:
    trace = watched(lambda task: scaled(task, unscales=False, **more))

    assert trace.clippings.keys() == {"scaled"}
    assert trace.clippings["scaled"].scale == 1024.0
    assert trace.clippings["scaled"].cut == Tally(STEPS, 1)
    assert "unclipped_gradient_norm" not in trace.columns
    assert told(lambda task: scaled(task, unscales=False, **more)) == [
        ("clipping of a scaled gradient", "fault")
    ]


@pytest.mark.parametrize("more", [{}, {"make": Adam, "fused": True}], ids=["", "fused"])
def test_unscaling_before_clipping_takes_the_fault_away(more: dict[str, Any]) -> None:
    trace = watched(lambda task: scaled(task, unscales=True, **more))

    assert trace.clippings.keys() == {"used"}
    assert numbers(trace, "gradient_norm") == pytest.approx([LIMIT] * STEPS, rel=1e-3)
    assert all(1 < norm < 100 for norm in numbers(trace, "unclipped_gradient_norm"))
    assert faults(lambda task: scaled(task, unscales=True, limit=100.0, **more)) == []


def test_a_limit_that_is_multiplied_by_the_scale_is_no_fault() -> None:
    assert told(lambda task: scaled(task, unscales=False, limit=1024.0)) == []


def test_a_gradient_that_is_unscaled_by_hand_is_not_taken_for_scaled() -> None:
    def program(task: Task) -> None:
        optimizer = SGD(task.model.parameters(), lr=LR)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for _ in range(STEPS):
            optimizer.zero_grad()
            backward(scaler.scale(task.loss()))
            for p in task.model.parameters():
                assert p.grad is not None
                p.grad.div_(scaler.get_scale())
            clip(task)
            optimizer.step()

    assert watched(program).clippings.keys() == {"used"}


def test_a_step_that_is_scaled_itself_has_one_fault_and_norms_of_one_scale() -> None:
    def program(task: Task) -> None:
        optimizer = SGD(task.model.parameters(), lr=LR)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for _ in range(STEPS):
            optimizer.zero_grad()
            backward(scaler.scale(task.loss()))
            clip(task, 1000.0)
            optimizer.step()

    trace = watched(program)

    assert trace.clippings.keys() == {"used"}
    assert numbers(trace, "gradient_norm")[0] == pytest.approx(1000.0, rel=1e-3)
    assert numbers(trace, "unclipped_gradient_norm")[0] > 1000
    assert told(program)[0] == ("scaled gradient", "fault")
    assert all(fault != "clipping of a scaled gradient" for fault, _ in told(program))


def test_a_disabled_scaler_scales_nothing() -> None:
    def program(task: Task) -> None:
        optimizer = SGD(task.model.parameters(), lr=LR)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        for _ in range(STEPS):
            optimizer.zero_grad()
            backward(scaler.scale(task.loss()))
            clip(task)
            scaler.step(optimizer)
            scaler.update()

    assert watched(program).clippings.keys() == {"used"}


def test_a_step_that_the_scaler_leaves_out_uses_no_clipping() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = SGD(task.model.parameters(), lr=LR)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for step in range(1, 4):
            optimizer.zero_grad()
            backward(scaler.scale(task.loss() * (inf if step == 2 else 1)))
            scaler.unscale_(optimizer)
            clip(task)
            scaler.step(optimizer)
            scaler.update()

    assert only(watcher).clippings["used"].steps == Tally(2, 1)


def test_a_clipping_that_fails_keeps_no_optimizer_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch, "_foreach_mul_", fail)
    task = Task()
    with watching():
        optimizer = SGD(task.model.parameters(), lr=LR)
        backward(task.loss())
        with pytest.raises(RuntimeError, match="out of memory"):
            clip(task)
        gone = weakref.ref(optimizer)
        del optimizer
        gc.collect()

        assert gone() is None


# --- several optimizers


def two_models() -> tuple[Task, Task, SGD, SGD]:
    one, other = Task(), Task()
    return one, other, SGD(one.model.parameters(), lr=LR), SGD(other.model.parameters(), lr=LR)


def test_each_optimizer_of_two_is_told_of_its_own_clipping() -> None:
    """As in a GAN, where the backward of the one adds to the gradients of the other."""
    with watching() as watcher:
        one, other, of_one, of_other = two_models()
        for _ in range(STEPS):
            of_one.zero_grad()
            backward(one.loss())
            clip(one)
            of_one.step()
            of_other.zero_grad()
            backward(other.loss() + one.loss())
            clip(other)
            of_other.step()

    for trace in seen(watcher).optimizers:
        assert trace.clippings.keys() == {"used"}
        assert trace.clippings["used"].cut == Tally(STEPS, 1)


def test_a_clipping_of_two_optimizers_is_heard_of_both() -> None:
    with watching() as watcher:
        one, other, of_one, of_other = two_models()
        for _ in range(STEPS):
            of_one.zero_grad()
            of_other.zero_grad()
            backward(one.loss() + other.loss())
            clip_grad_norm_([*one.model.parameters(), *other.model.parameters()], LIMIT)
            of_one.step()
            of_other.step()

    for trace in seen(watcher).optimizers:
        assert trace.clippings["used"].cut == Tally(STEPS, 1)


def test_a_clipping_that_another_optimizer_uses_is_not_without_effect() -> None:
    """All gradients are clipped before the step of the second, when the first has taken its step."""
    with watching() as watcher:
        one, other, of_one, of_other = two_models()
        for _ in range(STEPS):
            of_one.zero_grad()
            backward(one.loss())
            of_one.step()
            of_other.zero_grad()
            backward(other.loss())
            clip_grad_norm_([*one.model.parameters(), *other.model.parameters()], LIMIT)
            of_other.step()

    first, second = seen(watcher).optimizers
    assert first.clippings == {}
    assert second.clippings["used"].cut == Tally(STEPS, 1)


def test_a_part_of_the_parameters_is_named() -> None:
    def program(task: Task) -> None:
        for _ in steps(SGD(task.model.parameters(), lr=LR)):
            backward(task.loss())
            clip_grad_norm_([task.model.weight], LIMIT)

    trace = watched(program)

    assert trace.clippings["used"].parameters == ("weight",)


def test_a_parameter_that_gets_no_gradient_is_not_missed() -> None:
    def program(task: Task) -> None:
        task.model.bias.requires_grad_(False)
        for _ in steps(SGD(task.model.parameters(), lr=LR)):
            backward(task.loss())
            clip_grad_norm_([task.model.weight], LIMIT)

    assert watched(program).clippings["used"].parameters == ()


# --- optimizers that step within a backward


def test_an_optimizer_that_clips_and_steps_within_the_backward_uses_its_clipping() -> None:
    def program(task: Task) -> None:
        optimizers: dict[Tensor, Optimizer] = {p: SGD([p], lr=LR) for p in task.model.parameters()}

        def hook(p: Tensor) -> None:
            clip_grad_norm_(p, LIMIT)
            optimizers[p].step()
            optimizers[p].zero_grad()

        for p in task.model.parameters():
            p.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
        for _ in range(STEPS):
            backward(task.loss())

    with watching() as watcher:
        program(Task())

    for trace in seen(watcher).optimizers:
        assert trace.clippings.keys() == {"used"}
        assert trace.clippings["used"].cut == Tally(STEPS, 1)


def test_clipping_within_the_backward_of_each_parameter_is_used_by_the_step_after() -> None:
    def hook(p: Tensor) -> None:
        clip_grad_norm_(p, LIMIT)

    def program(task: Task) -> None:
        for p in task.model.parameters():
            p.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
        for _ in steps(SGD(task.model.parameters(), lr=LR)):
            backward(task.loss())

    trace = watched(program)

    assert trace.clippings.keys() == {"used"}
    assert trace.clippings["used"].cut == Tally(STEPS, 1)
    assert trace.clippings["used"].parameters == ()


def test_a_backward_that_reaches_other_parameters_leaves_a_clipping_used() -> None:
    """The first of two backwards reaches a part; what it reaches is clipped by itself after the second."""
    task = Task()
    with watching() as watcher:
        optimizer = SGD(task.model.parameters(), lr=LR)
        for _ in steps(optimizer):
            backward((task.model.weight * task.inputs[:3]).square().mean())
            backward(task.model.bias.square().mean())
            clip(task, 1e-6)

    assert only(watcher).clippings.keys() == {"used"}
    assert only(watcher).clippings["used"].cut == Tally(STEPS, 1)
