"""Gradients that are not the same for all parameters of an optimizer: each is told of those that have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.watched import gradient_kinds, only, seen, watching
from test_cleared_gradients import CLEARINGS, Clear, backward, by_optimizer, found_in, layers, loss_of
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.records.training import GradientCase, Tally

FROZEN = (
    "0.weight, 0.bias do not require a gradient since step 2, and are moved by the gradient of step 1 "
    "(3 of 4 steps of SGD)"
)


def frozen_after_a_backward(clip: float | None = None, *, clears: bool = False) -> None:
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for step in range(1, 5):
        if step == 2:
            model[0].requires_grad_(False)
            if clears:
                optimizer.zero_grad()
        model[2].zero_grad()
        backward(loss_of(model))
        if clip is not None:
            clip_grad_norm_(model.parameters(), clip)
        optimizer.step()


@pytest.mark.parametrize("clip", [None, 1e9, 0.01])
def test_a_frozen_parameter_that_moves_is_named_with_the_step_of_its_gradient(clip: float | None) -> None:
    with watching() as watcher:
        frozen_after_a_backward(clip)

    trace = only(watcher)
    assert gradient_kinds(trace) == ["fresh"] * 4
    assert trace.cases == (GradientCase("stale", "frozen", Tally(3, 2), 4, ("0.weight", "0.bias")),)
    [diagnosis] = [d for d in diagnose(seen(watcher)) if d.fault == "stale gradient"]
    assert (diagnosis.step, diagnosis.parameter) == (2, "0.weight")
    assert diagnosis.fact == FROZEN
    assert not any(d.fault == "accumulated gradient" for d in diagnose(seen(watcher)))


def test_the_gradients_of_frozen_parameters_cleared_is_the_remedy() -> None:
    assert found_in(lambda: frozen_after_a_backward(clears=True)) == ()


def test_parameters_that_are_used_no_more_and_not_cleared_are_named() -> None:
    def program() -> None:
        model = layers()
        optimizer = SGD(model.parameters(), lr=0.1)
        for step in range(1, 6):
            model[2].zero_grad()
            loss = loss_of(model) if step < 3 else model[2](torch.ones(2, 5)).square().mean()
            if step < 3:
                model[0].zero_grad()
                backward(loss_of(model))
            backward(loss)
            optimizer.step()

    [diagnosis] = [d for d in found_in(program) if d.fault == "stale gradient"]
    assert diagnosis.fact == (
        "0.weight, 0.bias get no gradient since step 3, and are moved by the gradient of step 2 "
        "(3 of 5 steps of SGD)"
    )


def test_parameters_that_are_not_used_in_every_step_and_not_cleared_are_named() -> None:
    def program() -> None:
        model = layers()
        optimizer = SGD(model.parameters(), lr=0.1)
        for step in range(1, 7):
            model[2].zero_grad()
            if step % 2:
                model[0].zero_grad()
            backward(loss_of(model) if step % 2 else model[2](torch.ones(2, 5)).square().mean())
            optimizer.step()

    [diagnosis] = [d for d in found_in(program) if d.fault == "stale gradient"]
    assert diagnosis.fact == (
        "0.weight, 0.bias get no gradient in step 2, and are moved by that of an earlier step "
        "(3 of 6 steps of SGD)"
    )


@pytest.mark.parametrize("clear", CLEARINGS)
def test_parameters_whose_gradients_alone_add_up_are_named(clear: Clear) -> None:
    """Only the head's are cleared."""

    def program() -> None:
        model = layers()
        head = SGD(model[2].parameters())
        optimizer = Adam(model.parameters(), lr=0.01)
        for _ in range(6):
            clear(model[2], head)
            backward(loss_of(model))
            optimizer.step()

    with watching() as watcher:
        program()
    [trace] = seen(watcher).optimizers
    assert gradient_kinds(trace) == ["fresh"] + ["accumulated"] * 5
    [diagnosis] = [d for d in diagnose(seen(watcher)) if d.fault == "accumulated gradient"]
    assert (diagnosis.step, diagnosis.parameter) == (2, "0.weight")
    assert diagnosis.fact == (
        "step 2 adds the gradient of 0.weight, 0.bias to that of the previous step, "
        "which was not cleared (5 of 6 steps of optimizer)"
    )


def test_all_but_the_frozen_add_up_and_the_frozen_stay_as_they_are() -> None:
    """Without any clearing, and with a layer that is frozen after the first step."""
    with watching() as watcher:
        model = layers()
        optimizer = SGD(model.parameters(), lr=0.01)
        for step in range(1, 5):
            if step == 2:
                model[0].requires_grad_(False)
            backward(loss_of(model))
            optimizer.step()

    assert gradient_kinds(only(watcher)) == ["fresh"] + ["accumulated"] * 3
    facts = [d.fact for d in diagnose(seen(watcher))]
    assert FROZEN in facts
    assert any(
        fact.startswith("step 2 of SGD adds its gradient to that of the previous step") for fact in facts
    )


@pytest.mark.parametrize("is_first", [True, False])
def test_the_kind_of_a_step_is_that_of_most_parameters_with_a_new_gradient(*, is_first: bool) -> None:
    """Four parameters add up, two do not: whichever the optimizer has first."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 5), nn.Linear(5, 3))
    left = [*model[0].parameters(), *model[1].parameters()]
    groups: list[dict[str, Any]] = [{"params": left}, {"params": model[2].parameters()}]
    with watching() as watcher:
        optimizer = SGD(groups if is_first else groups[::-1], lr=0.01)
        for _ in range(3):
            model[2].zero_grad()
            backward(loss_of(model))
            optimizer.step()

    trace = only(watcher)
    assert gradient_kinds(trace) == ["fresh", "accumulated", "accumulated"]
    [diagnosis] = [d for d in diagnose(seen(watcher)) if d.fault == "accumulated gradient"]
    assert diagnosis.fact == (
        "step 2 adds the gradient of 0.weight, 0.bias, 1.weight and 1 more to that of the previous step, "
        "which was not cleared (2 of 3 steps of SGD)"
    )


def test_layers_that_are_frozen_one_after_another_are_told_one_by_one() -> None:
    def program() -> None:
        model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(2)), nn.Linear(4, 3))
        optimizer = SGD(model.parameters(), lr=0.01)
        for step in range(1, 9):
            if step in (3, 5):
                model[(step - 3) // 2].requires_grad_(False)
            for layer in model:
                if all(p.requires_grad for p in layer.parameters()):
                    layer.zero_grad()
            backward(loss_of(model))
            optimizer.step()

    facts = [d.fact for d in found_in(program) if d.fault == "stale gradient"]
    assert [fact.partition(",")[0] for fact in facts] == ["0.weight", "1.weight"]
    assert [fact.partition("since step ")[2][0] for fact in facts] == ["3", "5"]


def test_many_sets_of_parameters_are_folded_into_one() -> None:
    def program() -> None:
        model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(8)), nn.Linear(4, 3))
        optimizer = SGD(model.parameters(), lr=0.01)
        for step in range(9):
            if step:
                model[step - 1].requires_grad_(False)
            for layer in model:
                if all(p.requires_grad for p in layer.parameters()):
                    layer.zero_grad()
            backward(loss_of(model))
            optimizer.step()

    found = [d for d in found_in(program) if d.fault == "stale gradient"]
    assert len(found) == 3
    assert found[1].fact.endswith("(7 of 9 steps of SGD)")
    assert found[2].fact.endswith("(6 of 9 steps of SGD); the same applies to 10 other parameters")


def a_left_over_gradient_of_zero() -> None:
    """It moves nothing, though it is not cleared."""
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    for step in range(1, 5):
        model[2].zero_grad()
        backward(loss_of(model))
        if step == 1:
            model[0].zero_grad(set_to_none=False)
            model[0].requires_grad_(False)
        optimizer.step()


def a_group_whose_lr_is_zero() -> None:
    model = layers()
    groups: list[dict[str, Any]] = [
        {"params": model[0].parameters(), "lr": 0.0},
        {"params": model[2].parameters()},
    ]
    optimizer = SGD(groups, lr=0.1)
    for step in range(1, 5):
        if step == 2:
            model[0].requires_grad_(False)
        model[2].zero_grad()
        backward(loss_of(model))
        optimizer.step()


def a_gradient_of_zero_beside_momentum() -> None:
    """The weights move on by what the momentum remembers."""
    model = layers()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(1, 7):
        if step == 3:
            model[0].requires_grad_(False)
        if step < 3:
            model[0].zero_grad(set_to_none=False)
        model[2].zero_grad()
        backward(loss_of(model) * (0 if step == 2 else 1))
        optimizer.step()


@pytest.mark.parametrize(
    "program", [a_gradient_of_zero_beside_momentum, a_left_over_gradient_of_zero, a_group_whose_lr_is_zero]
)
def test_a_left_over_gradient_that_moves_nothing_is_no_fault(program: Callable[[], None]) -> None:
    assert [d for d in found_in(program) if d.fault in ("stale gradient", "accumulated gradient")] == []


def test_a_step_without_clearing_between_others_is_told_from_the_first_time_on() -> None:
    """Nothing was left before, so that nobody had looked at what the step left."""

    def program() -> None:
        model = layers()
        optimizer = SGD(model.parameters(), lr=0.01)
        for step in range(1, 9):
            if step % 3:
                by_optimizer(model, optimizer)
            else:
                model[2].zero_grad(set_to_none=False)
            backward(loss_of(model))
            optimizer.step()

    [diagnosis] = [d for d in found_in(program) if d.fault == "accumulated gradient"]
    assert diagnosis.fact == (
        "step 3 adds the gradient of 0.weight, 0.bias to that of the previous step, "
        "which was not cleared (2 of 8 steps of SGD)"
    )


def test_a_step_that_a_scaler_leaves_out_moves_nothing_by_an_old_gradient() -> None:
    with watching() as watcher:
        model, scaler = layers(), torch.amp.GradScaler("cpu", init_scale=4.0)
        optimizer = SGD(model.parameters(), lr=0.01)
        for step in range(1, 7):
            if step == 2:
                model[0].requires_grad_(False)
            model[2].zero_grad()
            backward(scaler.scale(loss_of(model) * (float("inf") if step == 4 else 1)))
            scaler.step(optimizer)
            scaler.update()

    assert gradient_kinds(only(watcher)) == ["fresh"] * 3 + ["skipped"] + ["fresh"] * 2
    assert [case.steps for case in only(watcher).cases] == [Tally(4, 2)]
