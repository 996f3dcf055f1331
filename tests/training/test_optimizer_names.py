"""Optimizers are told apart by the names that the program has for them."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.watched import seen, watching
from torch import nn

from optitrace.monitoring.optimizer_names import assigned_name


class Made:
    """Knows the name that it was about to be given when it was constructed."""

    def __init__(self) -> None:
        self.name = assigned_name(sys._getframe(1))


class Derived(Made):
    def __init__(self) -> None:
        super().__init__()
        self.others: list[Made] = []


class Owner:
    def __init__(self) -> None:
        self.actor_optimizer = made_elsewhere()
        self.by_name: dict[str, Made] = {}
        self.by_name["critic"] = Derived()


def made_elsewhere() -> Made:
    return Derived()


def of_a_variable() -> Made:
    optimizer = Made()
    return optimizer  # noqa: RET504


def of_a_closure() -> Made:
    optimizer = Derived()
    return (lambda: optimizer)()


def of_an_entry() -> Made:
    optimizers: dict[str, Made] = {}
    optimizers["actor"] = Made()
    return optimizers["actor"]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (of_a_variable, "optimizer"),
        (of_a_closure, "optimizer"),
        (of_an_entry, "optimizers['actor']"),
        (lambda: Owner().actor_optimizer, "actor_optimizer"),
        (lambda: Owner().by_name["critic"], "by_name['critic']"),
        (lambda: [Made(), Made()][1], ""),
        (lambda: max([Made()], key=id), ""),
    ],
)
def test_the_name_is_that_of_the_assignment(make: Callable[[], Made], name: str) -> None:
    assert make().name == name


def test_a_name_is_found_without_keeping_what_the_program_deletes() -> None:
    kept = nn.Linear(2, 2)
    gone = weakref.ref(kept)
    with watching():
        optimizer = torch.optim.SGD(kept.parameters())
        optimizer.step()
        del kept, optimizer
        gc.collect()

        assert gone() is None


def trained(make: Callable[[Any, Any], Any]) -> list[str]:
    """Return the names of the optimizers that are made for two modules, once each took a step."""
    model = nn.ModuleDict({"actor": nn.Linear(2, 1), "critic": nn.Linear(2, 1)})
    with watching() as watcher:
        for optimizer in make(model["actor"], model["critic"]):
            optimizer.step()
        made = seen(watcher)
    return [optimizer.name for optimizer in made.optimizers]


def test_optimizers_are_called_as_in_the_program() -> None:
    def make(actor: nn.Module, critic: nn.Module) -> Any:
        of_actor = torch.optim.Adam(actor.parameters())
        of_critic = torch.optim.Adam(critic.parameters())
        return of_actor, of_critic

    assert trained(make) == ["of_actor", "of_critic"]


def test_optimizers_of_one_name_are_told_apart_by_their_modules() -> None:
    def make(*modules: nn.Module) -> Any:
        made = []
        for module in modules:
            optimizer = torch.optim.Adam(module.parameters())
            made.append(optimizer)
        return made

    assert trained(make) == ["Adam of actor", "Adam of critic"]


def test_optimizers_of_the_same_modules_are_numbered() -> None:
    def make(*modules: nn.Module) -> Any:
        return [torch.optim.Adam([parameter]) for parameter in modules[0].parameters()]

    assert trained(make) == ["Adam", "Adam 2"]


def test_one_optimizer_alone_has_the_name_of_its_class() -> None:
    def make(actor: nn.Module, critic: nn.Module) -> Any:
        of_actor = torch.optim.Adam(actor.parameters())
        return [of_actor]

    assert trained(make) == ["Adam"]
