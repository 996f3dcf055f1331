"""What is recorded of the history of a training: state, learning rates, backwards and movements."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from support.watched import Task, gradient_kinds, only, seen, watching
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, OneCycleLR

from optitrace.records.training import BackwardCount, OptimizerTrace, StateChange, Tally


def adam(task: Task) -> torch.optim.Adam:
    return torch.optim.Adam(task.model.parameters(), lr=0.01)


def between(steps: int, change: str, *, at: int = 2) -> OptimizerTrace:
    """Return what is recorded of Adam where something is done after a step."""
    task = Task()
    optimizer = adam(task)

    def then(step: int) -> None:
        if step != at:
            return
        if change == "zeroed":
            for entries in optimizer.state.values():
                entries["exp_avg"].zero_()
        if change == "cleared":
            optimizer.state.clear()
        if change == "rounded":
            saved = optimizer.state_dict()
            for entries in saved["state"].values():
                entries["exp_avg_sq"] = entries["exp_avg_sq"].bfloat16()
            optimizer.load_state_dict(saved)
        if change == "copied":
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        if change == "projected":
            task.model.weight.data.clamp_(-0.1, 0.1)
        if change == "restarted":
            optimizer.state.clear()
            with torch.no_grad():
                for p in task.model.parameters():
                    p.mul_(2)

    with watching() as watcher:
        task.train(optimizer, steps, then)
    return only(watcher)


def test_a_state_that_is_left_alone_has_no_change() -> None:
    assert between(4, "nothing").changes == ()


def test_a_state_that_is_zeroed_in_place_is_a_change_before_the_next_step() -> None:
    assert between(4, "zeroed").changes == (StateChange("exp_avg", "written", "zero", Tally(1, 3), 3),)


def test_a_state_that_is_cleared_has_no_entry_left() -> None:
    changes = between(4, "cleared").changes

    assert [(c.quantity, c.how, c.became, c.steps) for c in changes] == [
        (entry, "replaced", "nothing", Tally(1, 3)) for entry in ("step", "exp_avg", "exp_avg_sq")
    ]


def test_a_state_that_was_rounded_names_the_dtype_that_has_all_its_numbers() -> None:
    [change] = [c for c in between(4, "rounded").changes if c.became]

    # the bias has three numbers, too few to say that of
    assert (change.quantity, change.how, change.became) == ("exp_avg_sq", "loaded", "bfloat16")
    assert change.parameters == ("weight",)


def test_a_state_that_is_loaded_as_it_was_is_neither_gone_nor_rounded() -> None:
    changes = between(4, "copied").changes

    assert {(c.how, c.became) for c in changes} == {("loaded", "")}


def test_weights_that_are_written_through_data_are_a_change_of_that_parameter() -> None:
    assert between(4, "projected").changes == (
        StateChange("weights", "written", "", Tally(1, 3), 3, ("weight",), with_weights=True),
    )


def test_a_reset_of_the_state_together_with_the_weights_is_marked_as_such() -> None:
    changes = between(4, "restarted").changes

    assert {c.quantity for c in changes} == {"weights", "step", "exp_avg", "exp_avg_sq"}
    assert all(c.with_weights for c in changes)


def test_an_optimizer_in_the_place_of_another_is_known_to_follow_it() -> None:
    task = Task()
    with watching() as watcher:
        task.train(adam(task), 2)
        task.train(adam(task), 2)
    first, second = seen(watcher).optimizers

    assert (first.follows, second.follows) == ("", first.name)


@pytest.mark.parametrize("change", ["weights", "class", "no state"])
def test_an_optimizer_follows_none_that_it_does_not_go_on_from(change: str) -> None:
    task = Task()
    cls = torch.optim.SGD if change == "no state" else torch.optim.Adam
    with watching() as watcher:
        task.train(cls(task.model.parameters(), lr=0.01), 2)
        if change == "weights":
            nn.init.zeros_(task.model.weight)
        then = torch.optim.AdamW if change == "class" else cls
        task.train(then(task.model.parameters(), lr=0.01), 2)

    assert [optimizer.follows for optimizer in seen(watcher).optimizers] == ["", ""]


@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_state_in_a_file_that_is_not_loaded_is_named(tmp_path: Path, is_loaded: bool) -> None:
    task, file = Task(), tmp_path / "checkpoint.pt"
    optimizer = adam(task)
    task.train(optimizer, 3)
    torch.save({"model": task.model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    with watching() as watcher:
        resumed = adam(task)
        saved = torch.load(file)
        task.model.load_state_dict(saved["model"])
        if is_loaded:
            resumed.load_state_dict(saved["optimizer"])
        task.train(resumed, 2)
    unloaded = only(watcher).unloaded

    if is_loaded:
        assert unloaded is None
    else:
        assert unloaded is not None
        assert (unloaded.file, unloaded.step, unloaded.lr) == ("checkpoint.pt", 3, (0.01,))


def test_module_load_state_dict_still_returns_what_it_could_not_match() -> None:
    task = Task()
    with watching():
        result = task.model.load_state_dict({"weight": torch.zeros(3, 4)}, strict=False)

    assert result.missing_keys == ["bias"]


def test_two_optimizers_with_the_same_state_tensors_are_told_of_each_other() -> None:
    one, two = Task(), Task()
    with watching() as watcher:
        first, second = adam(one), adam(two)
        one.train(first, 2)
        second.load_state_dict(first.state_dict())
        two.train(second, 2)
    shared = seen(watcher).optimizers[1].shares_state

    assert shared is not None
    assert shared.optimizer == seen(watcher).optimizers[0].name


def test_an_lr_that_a_constructor_undoes_after_loading_is_an_event() -> None:
    task = Task()
    optimizer = adam(task)
    scheduler = LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    task.train(optimizer, 1, lambda step: scheduler.step())
    saved = optimizer.state_dict()  # its lr is 0.005, its initial one 0.01
    with watching() as watcher:
        resumed = adam(task)
        resumed.load_state_dict(saved)
        LambdaLR(resumed, lambda epoch: 0.5**epoch)
        task.train(resumed, 2)
    [event] = only(watcher).lr_events

    assert (event.fault, event.steps) == ("undone by constructor", Tally(1, 1))
    assert (event.before, event.after) == ((0.005,), (0.01,))


def test_an_lr_by_hand_that_the_schedule_puts_back_is_an_event_of_the_step_that_uses_it() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = adam(task)
        scheduler = LambdaLR(optimizer, lambda epoch: 1.0)
        for step in range(1, 5):
            if step == 2:
                optimizer.param_groups[0]["lr"] = 0.0001
            task.train(optimizer, 1)
            scheduler.step()
    [event] = only(watcher).lr_events

    assert (event.fault, event.steps) == ("put back", Tally(1, 3))
    assert (event.before, event.after) == ((0.0001,), (0.01,))


def test_a_warm_up_by_hand_under_a_scheduler_is_no_event() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = adam(task)
        scheduler = ConstantLR(optimizer, factor=1.0)
        for step in range(1, 9):
            if step <= 4:
                optimizer.param_groups[0]["lr"] = 0.01 * step / 4
            task.train(optimizer, 1)
            scheduler.step()

    assert only(watcher).lr_events == ()


@pytest.mark.parametrize(("max_lr", "faults"), [(0.1, ["levelled"]), ([0.01, 0.1], [])])
def test_groups_that_one_max_lr_makes_alike_are_an_event(
    max_lr: float | list[float], faults: list[str]
) -> None:
    task = Task()
    with watching() as watcher:
        groups = [{"params": [task.model.weight], "lr": 0.01}, {"params": [task.model.bias], "lr": 0.1}]
        optimizer = torch.optim.SGD(groups, momentum=0.9)
        OneCycleLR(optimizer, max_lr, total_steps=10)
        task.train(optimizer, 2)

    assert [event.fault for event in only(watcher).lr_events] == faults


def test_a_step_that_changes_its_own_lr_is_an_event() -> None:
    class Falling(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            group = self.param_groups[0]
            for p in group["params"]:
                p.data -= group["lr"] * p.grad
            group["lr"] /= 2

    task = Task()
    with watching() as watcher:
        task.train(Falling(task.model.parameters(), {"lr": 0.1}), 3)
    [event] = only(watcher).lr_events

    assert (event.fault, event.steps, event.before, event.after) == (
        "changed inside step",
        Tally(3, 1),
        (0.1,),
        (0.05,),
    )


def counts(loop: str, steps: int = 4) -> tuple[BackwardCount, ...]:
    """Return how many backwards steps use and waste in a loop."""
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            if loop == "cleared":
                (task.loss() / 2).backward()  # type: ignore[no-untyped-call]
                optimizer.zero_grad()
            if loop == "added":
                (task.loss() / 2).backward()  # type: ignore[no-untyped-call]
            if loop == "for an input":
                given = task.inputs.clone().requires_grad_()
                task.model(given).sum().backward()
                optimizer.zero_grad()
            if loop == "as SAM":
                task.loss().backward()  # type: ignore[no-untyped-call]
                before = [p.detach().clone() for p in task.model.parameters()]
                for p in task.model.parameters():
                    p.data += 0.05 * p.grad  # type: ignore[operator]
                optimizer.zero_grad()
            (task.loss() / 2).backward()  # type: ignore[no-untyped-call]
            if loop == "as SAM":
                for p, old in zip(task.model.parameters(), before, strict=True):
                    p.data.copy_(old)
            if loop == "put together":
                kept = [p.grad.clone() for p in task.model.parameters() if p.grad is not None]
                optimizer.zero_grad()
                task.loss().backward()  # type: ignore[no-untyped-call]
                for p, other in zip(task.model.parameters(), kept, strict=True):
                    p.grad = other + p.grad  # type: ignore[operator]
            optimizer.step()
    return only(watcher).backwards


@pytest.mark.parametrize(
    ("loop", "used", "wasted"), [("plain", 1, 0), ("added", 2, 0), ("cleared", 1, 1), ("put together", 1, 0)]
)
def test_backwards_are_counted_as_used_or_wasted(loop: str, used: int, wasted: int) -> None:
    assert counts(loop) == (BackwardCount(used, wasted, Tally(4, 1), 4),)


@pytest.mark.parametrize("loop", ["for an input", "as SAM"])
def test_a_backward_that_served_something_else_is_not_wasted_once_that_is_known(loop: str) -> None:
    found = counts(loop)

    # whether the first one did is not looked at
    assert [(one.used, one.wasted, one.steps.count) for one in found if one.steps.first > 1] == [(1, 0, 3)]


@pytest.mark.parametrize("is_cleared", [True, False])
def test_a_backward_that_another_optimizer_used_is_mixed_where_it_is_not_cleared(is_cleared: bool) -> None:
    generator, critic, noise = nn.Linear(2, 2), nn.Linear(2, 1), torch.ones(4, 2)
    with watching() as watcher:
        first = torch.optim.SGD(generator.parameters(), lr=0.01)
        second = torch.optim.SGD(critic.parameters(), lr=0.01)
        for _ in range(3):
            first.zero_grad()
            made = generator(noise)
            critic(made).mean().backward()
            first.step()
            if is_cleared:
                second.zero_grad()
            critic(made.detach()).mean().neg().backward()
            second.step()
            second.zero_grad()
    mixed = [optimizer.mixed for optimizer in seen(watcher).optimizers]

    assert mixed == [None, None if is_cleared else Tally(3, 1)]


def test_heads_that_step_in_turn_with_a_shared_trunk_mix_nothing() -> None:
    trunk, heads, data = nn.Linear(2, 2), [nn.Linear(2, 1), nn.Linear(2, 1)], torch.ones(4, 2)
    with watching() as watcher:
        optimizers = [torch.optim.SGD(m.parameters(), lr=0.01) for m in (heads[0], trunk, heads[1])]
        for _ in range(3):
            for optimizer in optimizers:
                optimizer.zero_grad()
            for head in heads:
                head(trunk(data)).mean().backward()
            for optimizer in optimizers:
                optimizer.step()

    assert [optimizer.mixed for optimizer in seen(watcher).optimizers] == [None] * 3


@pytest.mark.parametrize(("clears", "expected"), [(True, None), (False, Tally(2, 1))])
def test_a_closure_that_never_clears_is_known_by_its_evaluations(
    clears: bool, expected: Tally | None
) -> None:
    task = Task()

    def closure() -> Tensor:
        if clears:
            optimizer.zero_grad()
        loss = task.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with watching() as watcher:
        optimizer = torch.optim.LBFGS(task.model.parameters(), lr=0.01, max_iter=3)
        for _ in range(2):
            optimizer.zero_grad()
            optimizer.step(closure)  # type: ignore[no-untyped-call]

    assert only(watcher).uncleared == expected


def test_what_moves_without_a_gradient_is_counted_from_the_step_that_freezes_it() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01, momentum=0.9)
        for step in range(1, 8):
            if step == 7:
                task.model.weight.requires_grad_(False)
            optimizer.zero_grad(set_to_none=False)
            task.loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    weight, bias = (parameter.movement for parameter in only(watcher).parameters)

    # steps 1, 2, 4 are inspected, and 7, as something was frozen before it
    assert weight.graded == Tally(3, 1)
    assert weight.frozen_drifts == Tally(1, 7)
    assert (bias.graded, bias.frozen_drifts) == (Tally(4, 1), None)


def test_trainings_in_threads_have_the_gradients_and_losses_of_their_own() -> None:
    tasks = [Task() for _ in range(3)]
    start = threading.Barrier(3)
    losses: dict[int, list[float]] = {0: [], 1: [], 2: []}

    def train(place: int) -> None:
        task = tasks[place]
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01 * (place + 1))
        for _ in range(5):
            optimizer.zero_grad()
            start.wait()
            loss = task.loss()
            losses[place].append(loss.item())
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    with watching() as watcher:
        threads = [threading.Thread(target=train, args=(place,)) for place in losses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = {round(o.hyperparameters[0]["lr"] * 100) - 1: o for o in seen(watcher).optimizers}

    assert {place: gradient_kinds(o) for place, o in found.items()} == dict.fromkeys(losses, ["fresh"] * 5)
    assert {place: list(o.columns["loss"].values) for place, o in found.items()} == losses


@pytest.mark.parametrize("how", ["replaced", "in place", "through data"])
def test_a_gradient_that_the_program_unscales_itself_is_fresh(how: str) -> None:
    task, scaler = Task(), torch.amp.GradScaler("cpu")
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            scaler.scale(task.loss()).backward()  # type: ignore[no-untyped-call]
            for p in task.model.parameters():
                assert p.grad is not None
                if how == "replaced":
                    p.grad = p.grad / scaler.get_scale()
                elif how == "in place":
                    p.grad.div_(scaler.get_scale())
                else:
                    p.grad.data.div_(scaler.get_scale())
            optimizer.step()

    assert gradient_kinds(only(watcher)) == ["fresh"] * 3


def test_a_scheduler_that_a_hook_of_the_step_advances_is_not_early() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = adam(task)
        scheduler = ConstantLR(optimizer)
        optimizer.register_step_post_hook(lambda *_: scheduler.step())
        task.train(optimizer, 3)
    scheduling = only(watcher).scheduling

    assert scheduling is not None
    assert (scheduling.steps, scheduling.early) == (3, 0)


def test_a_step_of_several_backwards_has_their_number_from_the_first_such_step_on() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
        for count in (1, 3, 1):
            optimizer.zero_grad()
            for _ in range(count):
                (task.loss() / count).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    column = only(watcher).columns["backwards"]

    assert (column.first, list(column.values)) == (1, [3.0, 1.0])


def test_a_step_with_a_closure_has_its_evaluations_and_their_losses() -> None:
    task = Task()
    losses: list[list[float]] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss()
        losses[-1].append(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with watching() as watcher:
        optimizer = torch.optim.LBFGS(task.model.parameters(), lr=0.1, max_iter=3)
        for _ in range(2):
            losses.append([])
            optimizer.step(closure)  # type: ignore[no-untyped-call]
    columns = {name: list(column.values) for name, column in only(watcher).columns.items()}

    assert columns["evaluations"] == [float(len(found)) for found in losses]
    assert columns["largest_loss"] == [max(found) for found in losses]
    assert (columns["loss"], columns["last_loss"]) == ([f[0] for f in losses], [f[-1] for f in losses])


@pytest.mark.parametrize(
    ("made", "then", "faults"),
    [(0.0001, 0.01, ["replaced by loading"]), (0.01, 0.01, []), (0.0001, 0.0001, [])],
)
def test_an_lr_that_loading_replaces_is_an_event_if_the_first_step_uses_it(
    made: float, then: float, faults: list[str]
) -> None:
    task = Task()
    before = adam(task)
    task.train(before, 2)
    with watching() as watcher:
        optimizer = torch.optim.Adam(task.model.parameters(), lr=made)
        optimizer.load_state_dict(before.state_dict())
        optimizer.param_groups[0]["lr"] = then
        task.train(optimizer, 2)

    assert [event.fault for event in only(watcher).lr_events] == faults


def test_an_lr_of_a_schedule_that_is_loaded_replaces_none() -> None:
    task = Task()
    before = adam(task)
    scheduler = LambdaLR(before, lambda step: 1 / (1 + step))
    task.train(before, 2, lambda step: scheduler.step())
    with watching() as watcher:
        optimizer = adam(task)
        optimizer.load_state_dict(before.state_dict())
        task.train(optimizer, 2)

    assert only(watcher).lr_events == ()


def test_a_scheduler_that_goes_on_for_an_optimizer_in_whose_place_is_another_is_counted() -> None:
    task = Task()
    with watching() as watcher:
        old = torch.optim.SGD([task.model.bias], lr=0.1)
        scheduler = LambdaLR(old, lambda step: 1 / (1 + step))
        task.train(old, 2, lambda step: scheduler.step())
        new = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.train(new, 3, lambda step: scheduler.step())

    first, second = seen(watcher).optimizers
    assert first.scheduling is not None
    assert (first.scheduling.steps, first.scheduling.reached, first.scheduling.late) == (5, 5, 4)
    assert (first.takes_over, second.takes_over) == ("", first.name)


def test_an_optimizer_that_steps_on_is_in_nobodys_hands() -> None:
    task = Task()
    with watching() as watcher:
        optimizers = [torch.optim.SGD([task.model.bias], lr=0.1) for _ in range(2)]
        for _ in range(2):
            for optimizer in optimizers:
                task.train(optimizer, 1)

    assert [trace.takes_over for trace in seen(watcher).optimizers] == ["", ""]


def test_how_far_a_schedule_is_counts_what_was_before_its_loaded_state() -> None:
    task = Task()
    with watching() as watcher:
        optimizer = adam(task)
        scheduler = OneCycleLR(optimizer, 0.1, total_steps=10)
        scheduler.load_state_dict(scheduler.state_dict() | {"last_epoch": 6})
        task.train(optimizer, 2, lambda step: scheduler.step())

    scheduling = only(watcher).scheduling
    assert scheduling is not None
    assert (scheduling.course, scheduling.steps, scheduling.reached) == (10, 2, 8)


def test_a_parameter_has_the_class_of_the_module_that_owns_it() -> None:
    model = nn.Sequential(nn.Embedding(3, 2), nn.LayerNorm(2))
    scale = torch.ones(2, requires_grad=True)
    with watching() as watcher:
        optimizer = torch.optim.SGD([*model.parameters(), scale], lr=0.1)
        (model(torch.tensor([0, 2])) * scale).sum().backward()
        optimizer.step()

    assert [p.module for p in only(watcher).parameters] == ["Embedding", "LayerNorm", "LayerNorm", ""]
