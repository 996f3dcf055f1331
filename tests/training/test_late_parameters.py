"""Parameters that get gradients later than the first step, in no optimizer or in one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.watched import seen, watching
from test_cleared_gradients import backward, found_in, layers, loss_of
from torch import nn
from torch.optim import SGD, Adam

from optitrace.monitoring.recording_config import RecordingConfig
from optitrace.records.training import UnownedParameter


def unfreezing(
    at: int, steps: int, then: Callable[[nn.Sequential, Adam], None] | None = None
) -> tuple[nn.Sequential, Adam]:
    model = layers()
    model[0].requires_grad_(False)
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for step in range(1, steps + 1):
        if step == at:
            model[0].requires_grad_(True)
            if then is not None:
                then(model, optimizer)
        optimizer.zero_grad()
        backward(loss_of(model))
        optimizer.step()
    return model, optimizer


@pytest.mark.parametrize(
    ("at", "steps", "every"), [(1, 20, 1), (2, 20, 1), (11, 20, 1), (16, 20, 1), (18, 20, 10), (600, 800, 1)]
)
def test_unfrozen_parameters_in_no_optimizer_are_found(at: int, steps: int, every: int) -> None:
    with watching(RecordingConfig(every=every)) as watcher:
        unfreezing(at, steps)

    assert seen(watcher).unowned == tuple(
        UnownedParameter(name, "Adam", at, at) for name in ("0.weight", "0.bias")
    )


def test_the_end_of_a_program_is_looked_at_whether_its_optimizer_lives_or_not() -> None:
    with watching() as watcher:
        model = unfreezing(18, 20)[0]
        other, optimizer = unfreezing(18, 20)

    unowned = seen(watcher).unowned
    assert len(list(model.parameters())) == len(list(other.parameters())) == 4
    assert optimizer.param_groups
    assert [(one.optimizer, one.since, one.by) for one in unowned] == [("Adam", 18, 18)] * 2 + [
        ("Adam 2", 18, 18)
    ] * 2


def test_a_group_that_is_added_for_unfrozen_parameters_is_the_remedy() -> None:
    def add(model: nn.Sequential, optimizer: Adam) -> None:
        optimizer.add_param_group({"params": list(model[0].parameters())})

    def program() -> None:
        unfreezing(11, 20, add)

    assert [d for d in found_in(program) if "optimizer" in d.fault] == []


def a_second_optimizer() -> None:
    model = layers()
    model[0].requires_grad_(False)
    first = Adam(model[2].parameters(), lr=0.01)
    second: SGD | None = None
    for step in range(20):
        if step == 10:
            model[0].requires_grad_(True)
            second = SGD(model[0].parameters(), lr=0.01)
        model.zero_grad()
        backward(loss_of(model))
        first.step()
        if second is not None:
            second.step()


def one_optimizer_after_another() -> None:
    model = layers()
    for part in (model[2], model[0]):
        model.requires_grad_(False)
        part.requires_grad_(True)
        optimizer = SGD(part.parameters(), lr=0.01)
        for _ in range(10):
            optimizer.zero_grad()
            backward(loss_of(model))
            optimizer.step()


def frozen_all_the_time() -> None:
    unfreezing(100, 20)


def a_target_that_follows() -> None:
    """It asks for gradients, and is used without a graph."""
    model = nn.ModuleDict({"online": layers(), "target": layers()})
    optimizer = SGD(model["online"].parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        with torch.no_grad():
            target = model["target"](torch.ones(2, 4))
        backward((model["online"](torch.ones(2, 4)) - target).square().mean())
        optimizer.step()


@pytest.mark.parametrize(
    "program", [a_second_optimizer, one_optimizer_after_another, frozen_all_the_time, a_target_that_follows]
)
def test_parameters_that_are_in_an_optimizer_or_get_no_gradients_are_no_fault(
    program: Callable[[], None],
) -> None:
    assert found_in(program) == ()


def test_parameters_of_a_model_that_is_made_anew_are_looked_for_without_a_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search among all objects takes as long as hundreds of steps."""
    searches: list[None] = []

    def search() -> list[object]:
        searches.append(None)
        return []

    monkeypatch.setattr("optitrace.monitoring.ownership.gc.get_objects", search)
    weights = torch.ones(2, requires_grad=True)
    with watching():
        optimizer = SGD([weights], lr=0.01)
        for _ in range(40):
            optimizer.zero_grad()
            backward(weights.sum())
            optimizer.step()

    assert len(searches) == 1
