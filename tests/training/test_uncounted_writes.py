"""Gradients that are written past the counter of a tensor's changes, as through `grad.data`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.watched import Task, gradient_kinds, only, watching
from torch import Tensor

STEPS = 6


def zeros_in_place_of_the_data(gradient: Tensor) -> None:
    gradient.data = torch.zeros_like(gradient)


CLEARINGS: dict[str, Callable[[Tensor], object]] = {
    "data.zero_": lambda g: g.data.zero_(),
    "data.mul_": lambda g: g.data.mul_(0),
    "data.copy_": lambda g: g.data.copy_(torch.zeros_like(g)),
    "a view of data": lambda g: g.data.view(-1).fill_(0),
    "other data": zeros_in_place_of_the_data,
    "storage": lambda g: g.untyped_storage().fill_(0),  # type: ignore[attr-defined]
    "numpy": lambda g: g.numpy().fill(0),
}


@pytest.mark.parametrize("clear", CLEARINGS.values(), ids=CLEARINGS)
def test_a_clearing_that_no_counter_counts_is_one(clear: Callable[[Tensor], object]) -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
        for _ in range(STEPS):
            for parameter in task.model.parameters():
                if parameter.grad is not None:
                    clear(parameter.grad)
            task.loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    assert gradient_kinds(only(watcher)) == ["fresh"] * STEPS


def test_a_gradient_that_is_scaled_down_that_way_is_still_added_to() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
        for _ in range(STEPS):
            for parameter in task.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.data.mul_(0.5)
            task.loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    assert gradient_kinds(only(watcher)) == ["fresh", *["accumulated"] * (STEPS - 1)]


def test_an_estimate_that_is_written_into_the_gradient_is_put_there_by_hand_and_not_stale() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
        for parameter in task.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        for step in range(1, STEPS + 1):
            for parameter in task.model.parameters():
                assert parameter.grad is not None
                parameter.grad.data.copy_(torch.full_like(parameter, float(step)))
            optimizer.step()

    assert gradient_kinds(only(watcher)) == ["by hand"] * STEPS


def test_a_gradient_that_is_left_as_it_was_is_stale() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
        task.loss().backward()  # type: ignore[no-untyped-call]
        for _ in range(3):
            optimizer.step()

    assert gradient_kinds(only(watcher)) == ["fresh", "stale", "stale"]
