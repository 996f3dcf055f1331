"""The names of the parameters of many optimizers, with few searches among all objects."""

from __future__ import annotations

import copy
import gc
import io
from collections.abc import Callable

import pytest
import torch
from support.watched import only, seen, watching
from torch import Tensor, nn

from optitrace.monitoring.ownership import MOST_IN_VAIN, ModuleRegistry


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return what grows by one with each search among all objects."""
    done: list[None] = []
    search = gc.get_objects

    def counted() -> list[object]:
        done.append(None)
        return search()

    monkeypatch.setattr(gc, "get_objects", counted)
    return done


def step(parameters: list[Tensor]) -> None:
    """Take one step with an optimizer that is thrown away."""
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    torch.stack([p.sum() for p in parameters]).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def read_from_a_file(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def hidden() -> nn.Module:
    """Return a module that torch is told nothing of."""
    made = nn.Linear.__new__(nn.Linear)
    made.__dict__.update(nn.Linear(2, 1).__dict__, _parameters={"w": nn.Parameter(torch.ones(1, 2))})
    return made


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 1))


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda base: base, ["0.weight", "0.bias"]),
        (lambda base: model(), ["0.weight", "0.bias"]),
        (copy.deepcopy, ["0.weight", "0.bias"]),
        (copy.copy, ["0.weight", "0.bias"]),
        (read_from_a_file, ["0.weight", "0.bias"]),
        (lambda base: nn.ModuleDict({"head": nn.Linear(2, 1)}), ["head.weight", "head.bias"]),
    ],
    ids=["one model", "new models", "deep copies", "copies", "files", "other containers"],
)
def test_the_parameters_of_many_optimizers_have_their_names_after_one_search(
    make: Callable[[nn.Module], nn.Module], names: list[str], searches: list[None]
) -> None:
    base = model()
    with watching() as watcher:
        for _ in range(20):
            made = make(base)
            step(list(made.parameters()))

    assert [[p.name for p in trace.parameters] for trace in seen(watcher).optimizers] == [names] * 20
    assert len(searches) == 1


def test_a_model_that_is_built_around_another_later_gives_the_later_names(searches: list[None]) -> None:
    encoder = nn.Linear(2, 2)
    with watching() as watcher:
        step(list(encoder.parameters()))
        whole = nn.Sequential(encoder, nn.Linear(2, 1))
        step(list(encoder.parameters()))
        outer = nn.ModuleDict({"encoder": whole})
        step(list(encoder.parameters()))
        del outer
        gc.collect()
        step(list(encoder.parameters()))

    names = [trace.parameters[0].name for trace in seen(watcher).optimizers]
    assert names == ["weight", "0.weight", "encoder.0.weight", "0.weight"]
    assert len(searches) == 1


def test_a_module_that_torch_is_not_told_of_is_found_by_a_search(searches: list[None]) -> None:
    with watching() as watcher:
        for make in [model, *[hidden] * (MOST_IN_VAIN + 1)]:
            made = make()
            step(list(made.parameters()))

    names = [trace.parameters[0].name for trace in seen(watcher).optimizers]
    assert names == ["0.weight"] + ["w"] * (MOST_IN_VAIN + 1)
    assert len(searches) == MOST_IN_VAIN + 2


def test_modules_that_are_made_while_watched_have_names_even_where_no_search_finds_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After gc.freeze() none does."""
    monkeypatch.setattr(gc, "get_objects", list)
    with watching() as watcher:
        made = model()
        step(list(made.parameters()))

    assert [p.name for p in only(watcher).parameters] == ["0.weight", "0.bias"]


def test_parameters_without_a_module_are_soon_searched_for_no_more(searches: list[None]) -> None:
    with watching() as watcher:
        for _ in range(20):
            step([torch.ones(2, requires_grad=True)])
        made = model()
        step(list(made.parameters()))

    traces = seen(watcher).optimizers
    assert [trace.parameters[0].name for trace in traces] == ["group 0 · parameter 0"] * 20 + ["0.weight"]
    assert len(searches) == MOST_IN_VAIN


def test_a_module_that_is_gone_is_forgotten() -> None:
    modules = ModuleRegistry()
    made = nn.Linear(2, 1)
    modules.add(made)
    modules.add(made)
    assert len(modules) == 1
    del made
    gc.collect()

    assert len(modules) == 0


class Unfinished(nn.Module):
    """A module that is not one yet, as it is in its constructor."""

    def __init__(self) -> None:
        pass


def test_a_module_whose_constructor_is_not_done_harms_nothing() -> None:
    unfinished = Unfinished()
    with watching() as watcher:
        made = model()
        step(list(made.parameters()))

    assert vars(unfinished) == {}
    assert [p.name for p in only(watcher).parameters] == ["0.weight", "0.bias"]


def test_a_module_that_has_itself_harms_nothing() -> None:
    modules = ModuleRegistry()
    modules.owning([])
    first, second = nn.Linear(2, 1), nn.Module()
    first.up, second.down = second, first
    for module in (first, second):
        modules.add(module)

    assert modules.owning(list(first.parameters())) == []
