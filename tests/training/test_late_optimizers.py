"""Optimizers that are first heard of when a gradient is there already."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.watched import Task, gradient_kinds, numbers, only, seen, watching
from torch import nn


def before_watching(task: Task) -> Callable[[], torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    return lambda: optimizer


def after_the_backward(task: Task) -> Callable[[], torch.optim.Optimizer]:
    return lambda: torch.optim.SGD(task.model.parameters(), lr=0.1)


def with_an_empty_group(task: Task) -> Callable[[], torch.optim.Optimizer]:
    optimizer = torch.optim.SGD([{"params": []}], lr=0.1)

    def filled() -> torch.optim.Optimizer:
        optimizer.add_param_group({"params": list(task.model.parameters())})
        return optimizer

    return filled


@pytest.mark.parametrize("make", [before_watching, after_the_backward, with_an_empty_group])
def test_the_first_step_of_an_optimizer_has_the_losses_that_were_heard_before_it_was_known(
    make: Callable[[Task], Callable[[], torch.optim.Optimizer]],
) -> None:
    task = Task()
    made = make(task)
    loss = task.loss().item()
    with watching() as watcher:
        for _ in range(2):
            (task.loss() / 2).backward()  # type: ignore[no-untyped-call]
        optimizer = made()
        optimizer.step()
        second = task.loss().item()
        task.train(optimizer, 1)

    assert numbers(only(watcher), "loss") == pytest.approx([loss, second])
    assert gradient_kinds(only(watcher)) == ["fresh", "fresh"]


def test_optimizers_that_were_made_before_have_the_losses_of_their_turn_or_the_one_of_all() -> None:
    judge, generator = nn.Linear(2, 1), nn.Linear(2, 2)
    of_judge = torch.optim.SGD(judge.parameters(), lr=0.1)
    of_generator = [torch.optim.SGD([p], lr=0.1) for p in generator.parameters()]
    with watching() as watcher:
        first = judge(torch.ones(1, 2)).mean()
        first.backward()
        of_judge.step()
        second = judge(generator(torch.ones(1, 2))).mean()
        second.backward()
        for optimizer in of_generator:
            optimizer.step()

    losses = [numbers(trace, "loss") for trace in seen(watcher).optimizers]
    assert losses == [[first.item()], [second.item()], [second.item()]]


def test_an_optimizer_that_is_first_heard_of_within_a_backward_has_the_loss_of_that() -> None:
    weights = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.0)
    weights.register_post_accumulate_grad_hook(lambda p: optimizer.step())  # type: ignore[no-untyped-call]
    with watching() as watcher:
        for scale in (1, 2):
            weights.grad = None
            (scale * weights).sum().backward()  # type: ignore[no-untyped-call]

    assert numbers(only(watcher), "loss") == [2.0, 4.0]
    assert gradient_kinds(only(watcher)) == ["fresh", "fresh"]


@pytest.mark.parametrize("unscales", [False, True])
def test_a_scaler_may_be_the_first_to_name_an_optimizer(unscales: bool) -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    loss = task.loss()
    with watching() as watcher:
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if unscales:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)

    assert numbers(only(watcher), "loss") == [loss.item()]
    assert gradient_kinds(only(watcher)) == ["fresh"]


def test_a_gradient_before_any_backward_was_put_there_by_hand() -> None:
    weights = torch.ones(2, requires_grad=True)
    weights.grad = torch.ones(2)
    optimizer = torch.optim.SGD([weights], lr=0.1)
    with watching() as watcher:
        optimizer.step()

    assert gradient_kinds(only(watcher)) == ["by hand"]
