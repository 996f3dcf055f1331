from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable

import pytest
import torch
from support import made_trainings as made
from support.watched import Task

import optitrace
from optitrace import Training
from optitrace.errors import UsageError
from optitrace.python.training import Kept
from optitrace.tracing import series as storage
from optitrace.views.display import Display


def test_a_training_is_readable_while_it_grows_and_after() -> None:
    task = Task()
    optimizer = torch.optim.Adam(task.model.parameters(), lr=0.01)
    lengths: list[int] = []
    with optitrace.watch(optimizer, model=task.model, params=True, values=["weight[0,1]"]) as training:
        task.train(optimizer, 3, lambda step: lengths.append(len(training.steps())))
    task.train(optimizer, 2)

    assert lengths == [1, 2, 3]
    assert training.steps() == [1, 2, 3]
    assert training.optimizers == ("Adam",)
    assert training.column("gradient_norm").shape == (3,)
    assert set(training.by_parameter("update_norm")) == {"weight", "bias"}
    assert training.column("weight[0,1]")[-1].item() != task.model.weight[0, 1].item()
    assert json.loads(training.to_json())["optimizers"][0]["name"] == "Adam"
    assert "completed after 3 steps" in str(training)
    assert "<table>" in training._repr_html_()


def test_only_what_is_given_is_watched() -> None:
    task, other = Task(), Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with optitrace.watch(optimizer) as training:
        task.train(optimizer, 1)
        other.train(torch.optim.Adam(other.model.parameters()), 2)

    assert training.optimizers == ("SGD",)


def test_the_faults_of_a_loop_are_told() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with optitrace.watch(optimizer) as training:
        for _ in range(3):
            task.loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    assert [(found.fault, found.step) for found in training.diagnoses] == [("accumulated gradient", 2)]


def test_a_clipping_is_told_of_a_loop_and_of_its_pickled_copy() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with optitrace.watch(optimizer, params=True) as training:
        for _ in range(6):
            torch.nn.utils.clip_grad_norm_(task.model.parameters(), 0.01)
            optimizer.zero_grad()
            task.loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    for told in (training, pickle.loads(pickle.dumps(training))):
        assert [(found.fault, found.step) for found in told.diagnoses] == [("clipping without effect", 1)]
        with pytest.raises(UsageError, match="SGD has no 'unclipped_gradient_norm'"):
            told.column("unclipped_gradient_norm")


def test_steps_are_held_against_the_rule_if_asked_for() -> None:
    task = Task()
    optimizer = torch.optim.AdamW(task.model.parameters())
    with optitrace.watch(optimizer, verify=True) as training:
        task.train(optimizer, 4)

    [agreement] = training.verified
    assert (agreement.rule, agreement.steps, agreement.agrees) == ("adamw", 4, True)


def test_a_loop_that_fails_keeps_what_was_seen() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)

    def fail(step: int) -> None:
        if step == 2:
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk is full"), optitrace.watch(optimizer) as training:
        task.train(optimizer, 5, fail)

    assert training.steps() == [1, 2]
    assert "failed after 2 steps: RuntimeError: the disk is full" in str(training)


def test_one_pattern_need_not_be_in_a_list() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with optitrace.watch(optimizer, values="bias") as training:
        task.train(optimizer, 1)

    assert torch.equal(training.column("bias")[0], task.model.bias.detach().double())


def test_what_cannot_be_is_told() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match=r"nothing to watch; give watch\(\) an optimizer"):
        optitrace.watch()
    for given, kind in ((task.model, "Linear"), ([optimizer], "list")):
        with pytest.raises(
            UsageError, match=rf"given {kind}, which is not an optimizer; write watch\(optimizer, mo"
        ):
            optitrace.watch(given)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"every is 1\.5; it must be a positive integer"):
        optitrace.watch(optimizer, every=1.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="every is 0"):
        optitrace.watch(optimizer, every=0)
    with pytest.raises(UsageError, match="cannot read the pattern '\\[1\\]'"):
        optitrace.watch(optimizer, values=["[1]"])
    with pytest.raises(UsageError, match="matches no parameter"), optitrace.watch(optimizer, values=["q.*"]):
        task.train(optimizer, 1)
    with optitrace.watch(optimizer) as training:
        with pytest.raises(UsageError, match="no optimizer has taken a step"):
            training.column("loss")
        task.train(optimizer, 1)
    with pytest.raises(UsageError, match="SGD has no 'los'; there are loss, lr"):
        training.column("los")
    with pytest.raises(UsageError, match="there is no optimizer 'Adam'; name one of 'SGD'"):
        training.column("loss", "Adam")
    with pytest.raises(UsageError, match="watch with params=True"):
        training.by_parameter("update_norm")


def test_messages_name_the_first_few_of_many_optimizers() -> None:
    tasks = [Task() for _ in range(10)]
    optimizers = [torch.optim.SGD(task.model.parameters(), lr=0.1) for task in tasks]
    with optitrace.watch(*optimizers) as training:
        for task, optimizer in zip(tasks, optimizers, strict=True):
            task.train(optimizer, 1)

    first = "SGD, " + ", ".join(f"SGD {k}" for k in range(2, 9))
    assert repr(training) == f"<Training: {first} and 2 more>"
    quoted = ", ".join(map(repr, first.split(", ")))
    with pytest.raises(UsageError, match=f"several optimizers; name one of {quoted} and 2 more."):
        training.column("loss")


def pickled(training: Training) -> Training:
    again: Training = pickle.loads(pickle.dumps(training))
    return again


@pytest.mark.parametrize("copied", [pickled, copy.copy, copy.deepcopy])
def test_a_training_that_is_over_can_be_copied_and_pickled(copied: Callable[[Training], Training]) -> None:
    task = Task()
    optimizer = torch.optim.Adam(task.model.parameters())
    with optitrace.watch(optimizer, model=task.model, params=True, state=True, verify=True) as training:
        task.train(optimizer, 3)

    again = copied(copied(training))

    assert str(again) == str(training)
    assert again.to_json() == training.to_json()
    assert again.verified == training.verified
    assert torch.equal(again.column("loss"), training.column("loss"))


def test_a_copy_is_whole_where_numbers_are_mapped_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "IN_MEMORY", 2)
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with optitrace.watch(optimizer) as training:
        task.train(optimizer, 5)

    assert isinstance(training.record.optimizers[0].columns["loss"].values, memoryview)
    for copied in (pickled, copy.deepcopy):
        assert torch.equal(copied(training).column("loss"), training.column("loss"))


def test_a_training_that_failed_is_copied_with_its_reason() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)

    def fail(step: int) -> None:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="full"), optitrace.watch(optimizer) as training:
        task.train(optimizer, 1, fail)

    assert "failed after 1 step: RuntimeError: the disk is full" in str(pickled(training))


def test_a_training_that_is_still_watched_is_not_copied() -> None:
    task = Task()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    sentence = "still watched cannot be copied or pickled; do so after its with block"
    with optitrace.watch(optimizer) as training:
        task.train(optimizer, 1)
        for copied in (pickled, copy.copy, copy.deepcopy):
            with pytest.raises(UsageError, match=sentence):
                copied(training)

    with pytest.raises(UsageError, match=r"a copy of a training watches nothing; call optitrace\.watch\(\)"):
        pickled(training).__enter__()


def test_a_state_entry_named_as_a_quantity_can_be_asked_for() -> None:
    own = made.optimizer((2.5,), state={"lr": made.scalar([2.0])}, values={"lr": made.scalar([3.0])})
    kept = Training(Kept(made.training(own), ()), Display())

    assert kept.column("lr").tolist() == pytest.approx([0.001])
    assert kept.column("state_lr").tolist() == [2.0]
    assert kept.column("value_lr").tolist() == [3.0]
