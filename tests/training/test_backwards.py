"""Backwards that are not just called and done: steps within them, backwards within them, those that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.watched import Task, gradient_kinds, numbers, only, seen, watching
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from optitrace.monitoring.backward_tracker import MOST_UNREAD, BackwardTracker, add, loss_value


@pytest.mark.parametrize("clears", ["in the hook", "in the hook, to zero", "before each backward"])
def test_a_step_within_a_backward_has_the_loss_of_that_backward(clears: str) -> None:
    task, losses = Task(), []
    with watching() as watcher:
        optimizers: dict[Tensor, torch.optim.SGD] = {
            p: torch.optim.SGD([p], lr=0.1) for p in task.model.parameters()
        }

        def step(p: Tensor) -> None:
            optimizers[p].step()
            if clears.startswith("in the hook"):
                optimizers[p].zero_grad(set_to_none=clears == "in the hook")

        for p in task.model.parameters():
            p.register_post_accumulate_grad_hook(step)  # type: ignore[no-untyped-call]
        for _ in range(4):
            if clears == "before each backward":
                task.model.zero_grad()
            loss = task.loss()
            losses.append(loss.item())
            loss.backward()  # type: ignore[no-untyped-call]

    traces = seen(watcher).optimizers
    assert [numbers(trace, "loss") for trace in traces] == [losses] * 2
    assert [gradient_kinds(trace) for trace in traces] == [["fresh"] * 4] * 2


def test_a_gradient_that_a_step_within_a_backward_leaves_there_accumulates() -> None:
    weights = torch.ones(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD([weights], lr=0.1)
        weights.register_post_accumulate_grad_hook(lambda p: optimizer.step())  # type: ignore[no-untyped-call]
        for _ in range(3):
            weights.sum().backward()  # type: ignore[no-untyped-call]

    # one step takes 0.1 · 1 from each of the two weights, the next 0.1 · 2
    assert numbers(only(watcher), "loss") == pytest.approx([2.0, 1.8, 1.4])
    assert gradient_kinds(only(watcher)) == ["fresh", "accumulated", "accumulated"]


def test_an_optimizer_that_steps_after_a_backward_is_told_as_always_beside_one_that_steps_within() -> None:
    body, head = nn.Linear(2, 2), nn.Linear(2, 1)
    losses = []
    with watching() as watcher:
        within = torch.optim.SGD([head.weight], lr=0.1)
        after = torch.optim.Adam([*body.parameters(), head.bias])

        def step(p: Tensor) -> None:
            within.step()
            within.zero_grad()

        head.weight.register_post_accumulate_grad_hook(step)  # type: ignore[no-untyped-call]
        for _ in range(3):
            after.zero_grad()
            for _ in range(2):
                loss = head(body(torch.ones(3, 2))).square().mean()
                losses.append(loss.item())
                loss.backward()
            after.step()

    first, second = seen(watcher).optimizers
    assert numbers(first, "loss") == losses
    assert numbers(second, "loss") == pytest.approx(
        [a + b for a, b in zip(losses[::2], losses[1::2], strict=True)]
    )
    assert (gradient_kinds(first), gradient_kinds(second)) == (["fresh"] * 6, ["fresh"] * 3)


def test_an_optimizer_of_a_layer_steps_within_a_backward_once_its_last_gradient_is_there() -> None:
    """The smallest parameter, the bias, has its gradient first or last: either way it is one step."""
    layer = nn.Linear(2, 3)
    with watching() as watcher:
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
        waiting: set[Tensor] = set(layer.parameters())

        def step(p: Tensor) -> None:
            waiting.discard(p)
            if not waiting:
                optimizer.step()
                optimizer.zero_grad()
                waiting.update(layer.parameters())

        for p in layer.parameters():
            p.register_post_accumulate_grad_hook(step)  # type: ignore[no-untyped-call]
        loss = layer(torch.ones(1, 2)).sum()
        for _ in range(3):
            loss.backward(retain_graph=True)

    assert numbers(only(watcher), "loss") == pytest.approx([loss.item()] * 3)
    assert gradient_kinds(only(watcher)) == ["fresh"] * 3


def reentrant(model: nn.Module, inputs: Tensor) -> Tensor:
    made: Tensor = checkpoint(model, inputs, use_reentrant=True)
    return made


def not_reentrant(model: nn.Module, inputs: Tensor) -> Tensor:
    made: Tensor = checkpoint(model, inputs, use_reentrant=False)
    return made


@pytest.mark.parametrize("through", [reentrant, not_reentrant])
def test_what_checkpoint_computes_anew_is_part_of_the_backward(
    through: Callable[[nn.Module, Tensor], Tensor],
) -> None:
    task, losses = Task(), []
    task.inputs.requires_grad_(True)
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(through(task.model, task.inputs), task.targets)
            losses.append(loss.item())
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    assert numbers(only(watcher), "loss") == losses
    assert gradient_kinds(only(watcher)) == ["fresh"] * 3


def test_a_backward_that_fails_is_the_loss_of_no_step() -> None:
    task = Task()

    def fail(gradient: Tensor) -> None:
        raise ValueError("not today")

    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(optimizer, 1)
        optimizer.zero_grad()
        hook = task.model.weight.register_hook(fail)  # type: ignore[no-untyped-call]
        with pytest.raises(ValueError, match="not today"):
            task.loss().backward()  # type: ignore[no-untyped-call]
        hook.remove()
        for p in task.model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()

    assert gradient_kinds(only(watcher)) == ["fresh", "by hand"]


def test_a_backward_of_tensors_that_can_be_gone_through_once_is_left_whole() -> None:
    weights = torch.ones(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD([weights], lr=0.0)
        torch.autograd.backward(weights.sum() * k for k in (1, 2))  # type: ignore[arg-type]
        optimizer.step()

    assert numbers(only(watcher), "loss") == [6.0]
    assert weights.grad is not None
    assert weights.grad.tolist() == [3.0, 3.0]


def test_a_backward_from_the_edge_of_a_graph_ends_no_watching() -> None:
    weights = torch.ones(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD([weights], lr=0.0)
        edge = torch.autograd.graph.get_gradient_edge(weights.sum())
        try:
            torch.autograd.backward(edge, torch.ones(()))
        except AssertionError:
            pytest.skip("an older torch takes no edges")
        optimizer.step()

    assert gradient_kinds(only(watcher)) == ["fresh"]


def test_of_two_backwards_at_once_the_end_of_the_first_leaves_the_second_underway() -> None:
    backwards = BackwardTracker()
    first, second = (backwards.begin(torch.tensor(loss)) for loss in (1.0, 2.0))
    backwards.end(first, is_done=True)

    assert backwards.underway is second


def test_a_gradient_within_a_backward_comes_from_that_and_from_those_since_the_last_step() -> None:
    backwards = BackwardTracker()
    heard = []
    for loss in (1.0, 2.0):
        backwards.end(backwards.begin(torch.tensor(loss)), is_done=True)
    for steps in range(2):
        if steps:
            backwards.stepped()
        underway = backwards.begin(torch.tensor(4.0))
        heard.append(backwards.source())
        backwards.end(underway, is_done=False)

    assert [None if one is None else loss_value(one.loss) for one in heard] == [7.0, 4.0]


def test_losses_that_nobody_asks_for_do_not_pile_up() -> None:
    losses: list[Any] = []
    for _ in range(MOST_UNREAD + 1):
        add(losses, torch.tensor(1.0))

    assert len(losses) == 2
    assert loss_value(losses) == MOST_UNREAD + 1
